// A control plane that speaks TLS only, with an authority that nobody knows but by CONVEYOR_TLS_CA.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { JobState } from '@conveyor/client';
import { createNodeClient } from '@conveyor/client/node';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { createJob, finishedJob, jobOf } from './jobs.ts';
import { type Process, startProcess } from './processes.ts';
import type { ServerAddresses, ServerSettings } from './server-process.ts';
import { TEST_CERT, TEST_KEY } from '../../packages/server/src/api/testing/test-tls.ts';
import { createTestDatabase, type TestDatabase } from '../../packages/server/src/store/testing/database.ts';

let database: TestDatabase;
let server: Process<ServerAddresses>;
let dataDir: string;
let env: { readonly CONVEYOR_TLS_CA: string; readonly CONVEYOR_DATA_DIR: string };

beforeAll(async () => {
  database = await createTestDatabase();
  dataDir = await mkdtemp(join(tmpdir(), 'conveyor-tls-'));
  const { connection: databaseUrl, schema } = database.config;
  const tls = { cert: TEST_CERT, key: TEST_KEY };
  const settings: ServerSettings = { databaseUrl, schema, dataDir, tls };
  server = await startProcess<ServerAddresses>('./server-process.ts', settings);
  env = { CONVEYOR_TLS_CA: join(dataDir, 'authority.pem'), CONVEYOR_DATA_DIR: dataDir };
  await writeFile(env.CONVEYOR_TLS_CA, TEST_CERT);
});
afterAll(async () => {
  await server.stop();
  await rm(dataDir, { recursive: true });
  await database[Symbol.asyncDispose]();
});

test('a client speaks to both doors, with and without a scheme, and trusts nobody else', async () => {
  const { grpcAddress, httpAddress } = server.ready;
  for (const address of [`grpcs://${grpcAddress}`, grpcAddress, `https://${httpAddress}`]) {
    expect(await createNodeClient({ address, env }).server.info()).toMatchObject({ replica: expect.any(String) });
    const distrustful = createNodeClient({
      address,
      env: { CONVEYOR_DATA_DIR: dataDir },
      retries: 0,
      timeoutMs: 5_000,
    });
    await expect(distrustful.server.info()).rejects.toMatchObject({ code: expect.any(String) });
  }
});

test.each([
  ['with a scheme', () => `grpcs://${server.ready.grpcAddress}`],
  ['without a scheme', () => server.ready.grpcAddress],
])('a driver connects to an address %s by its environment', async (name, address) => {
  const driver = `worker-${name.replaceAll(' ', '-')}`;
  const program = `
    import { defineDriver, runDriver } from '@conveyor/driver';
    await runDriver(defineDriver({ name: '${driver}', run: async () => {} }));
  `;
  const child = spawn(process.execPath, ['--conditions=source', '--input-type=module', '--eval', program], {
    cwd: import.meta.dirname,
    env: { PATH: process.env['PATH'], CONVEYOR_ADDRESS: address(), ...env },
    stdio: 'ignore',
  });
  const exited = once(child, 'exit');
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  const client = createNodeClient({ address: address(), env });
  const job = await createJob(client, jobOf(driver, { steps: [] }));
  expect(JobState[(await finishedJob(client, job)).state]).toBe('SUCCEEDED');
});
