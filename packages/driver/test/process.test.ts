// A driver as a process: what it takes from its environment, how it answers signals, and how it fails.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { expect, onTestFinished, test } from 'vitest';
import { defineDriver } from '@conveyor/driver';
import { startServer } from './fixture.ts';

/** A process of a driver whose jobs succeed on SIGUSR2. */
const program = `
  import { once } from 'node:events';
  import { defineDriver, runDriver } from '@conveyor/driver';
  // From the beginning: a signal that nobody waits for ends a process.
  const told = once(process, 'SIGUSR2');
  await runDriver(defineDriver({ name: 'worker', run: async () => { await told; } }));
`;

function startProcess(
  env: NodeJS.ProcessEnv,
): ChildProcess & { readonly exited: Promise<unknown[]>; stderrText(): string } {
  const child = spawn(process.execPath, ['--conditions=source', '--input-type=module', '--eval', program], {
    cwd: import.meta.dirname,
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let text = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const exited = once(child, 'close');
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  return Object.assign(child, { exited, stderrText: () => text });
}

test('it finds the control plane and its token by the environment, and drains on SIGTERM', async () => {
  const server = await startServer();
  const dataDir = await mkdtemp(join(tmpdir(), 'conveyor-driver-'));
  onTestFinished(() => rm(dataDir, { recursive: true }));
  await writeFile(join(dataDir, 'driver.token'), 'from-file\n');
  const child = startProcess({
    CONVEYOR_ADDRESS: ` ${server.address}, `,
    CONVEYOR_DATA_DIR: dataDir,
    CONVEYOR_INSTANCE_ID: 'w-1',
  });
  const session = await server.session();
  expect(session.token).toBe('Bearer from-file');
  expect(session.hello.instanceId).toBe('w-1');
  session.welcome();
  await session.startJob('a');
  child.kill('SIGTERM');
  await session.next('drain');
  child.kill('SIGUSR2');
  await session.next('finish');
  await session.next('goodbye');
  expect(await child.exited).toEqual([0, null]);
});

test('it connects to its own machine without the proxy of the environment', async () => {
  const server = await startServer();
  startProcess({ CONVEYOR_ADDRESS: server.address, CONVEYOR_TOKEN: 'token', http_proxy: 'http://127.0.0.1:1' });
  await server.session();
});

test('it speaks plain text where the address says so, whatever it trusts', async () => {
  const server = await startServer();
  const driver = defineDriver({ name: 'worker', run: async () => {} });
  const options = { addresses: [`grpc://${server.address}`], token: 'token', tls: {} };
  await using running = driver.start(options);
  (await server.session()).welcome();
  await running.ready;
});

test.each([
  [
    { CONVEYOR_ADDRESS: '127.0.0.1:7070,https://ci.example.com:8080' },
    "'https://ci.example.com:8080' is no address of a control plane: write HOST:PORT, or grpcs://HOST:PORT for TLS",
  ],
  [
    { CONVEYOR_ADDRESS: 'nowhere' },
    "'nowhere' is no address of a control plane: write HOST:PORT, or grpcs://HOST:PORT for TLS",
  ],
  [
    { CONVEYOR_TLS_CA: '/nowhere.pem' },
    'CONVEYOR_TLS_CA: cannot read certificates from /nowhere.pem: name a PEM file with the authorities to trust',
  ],
  [
    { CONVEYOR_TLS_CA: import.meta.filename },
    `CONVEYOR_TLS_CA: cannot read certificates from ${import.meta.filename}: name a PEM file with the authorities to trust`,
  ],
])('it says what is wrong and exits with 1 when it is given %o', async (env, problem) => {
  const child = startProcess({ ...env, CONVEYOR_TOKEN: 'token' });
  expect(await child.exited).toEqual([1, null]);
  expect(child.stderrText()).toBe(`worker: ${problem}\n`);
});

test('it exits at once on a second signal', async () => {
  const server = await startServer();
  const child = startProcess({ CONVEYOR_ADDRESS: server.address, CONVEYOR_TOKEN: 'token' });
  const session = await server.session();
  session.welcome();
  await session.startJob('a');
  child.kill('SIGINT');
  await session.next('drain');
  child.kill('SIGINT');
  expect(await child.exited).toEqual([130, null]);
  expect(session.arrived('finish')).toEqual([]);
});

test('it says what is wrong and exits with 1 when it has no token', async () => {
  const child = startProcess({ CONVEYOR_DATA_DIR: '/nowhere' });
  expect(await child.exited).toEqual([1, null]);
  expect(child.stderrText()).toBe(
    'worker: no driver token: set CONVEYOR_TOKEN, or CONVEYOR_DATA_DIR to where /nowhere/driver.token should be\n',
  );
});

test('it says what is wrong and exits with 1 when it is refused', async () => {
  const server = await startServer();
  const child = startProcess({ CONVEYOR_ADDRESS: server.address, CONVEYOR_TOKEN: 'wrong' });
  (await server.session()).fail(status.UNAUTHENTICATED, 'no such token');
  expect(await child.exited).toEqual([1, null]);
  expect(child.stderrText()).toBe('worker: the control plane refused driver worker: no such token\n');
});
