import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run, start } from './testing/run-command.ts';

let dataDir: string;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'conveyor-up-'));
});

afterAll(() => rm(dataDir, { recursive: true }));

function up(...more: readonly string[]) {
  const addresses = ['--grpc-address', '127.0.0.1:0', '--http-address', '127.0.0.1:0'];
  return start(['up', ...addresses, ...more], { PATH: process.env['PATH'] ?? '', CONVEYOR_DATA_DIR: dataDir });
}

describe('conveyor up', () => {
  it('says where it listens, lets the local command in, and stops in order at SIGTERM', async () => {
    await using server = up();
    await server.said('next: ');
    const { stdout } = server.soFar();
    const [, grpcAddress = '', httpAddress = ''] = /^conveyor is ready: gRPC (\S+), HTTP (\S+)\n/.exec(stdout) ?? [];
    expect(stdout).toContain(`tokens: ${join(dataDir, 'operator.token')} and ${join(dataDir, 'driver.token')}\n`);
    expect(stdout).toContain(`next: CONVEYOR_ADDRESS=${grpcAddress} conveyor get drivers\n`);
    expect((await stat(join(dataDir, 'operator.token'))).mode & 0o777).toBe(0o600);

    const local = { CONVEYOR_ADDRESS: grpcAddress, CONVEYOR_DATA_DIR: dataDir };
    expect(await run(['version'], local)).toMatchObject({ exitCode: 0, stderr: '' });
    const token = (await readFile(join(dataDir, 'driver.token'), 'utf8')).trim();
    const asDriver = { CONVEYOR_HTTP_ADDRESS: httpAddress, CONVEYOR_TOKEN: token };
    expect(await run(['get', 'runs'], asDriver)).toMatchObject({ exitCode: 1 });
    const stranger = await run(['get', 'runs'], { ...local, CONVEYOR_TOKEN: 'unknown' });
    expect(stranger).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('next: set CONVEYOR_DATA_DIR') });

    server.process.kill('SIGTERM');
    const { exitCode, stderr } = await server.result;
    expect(exitCode).toBe(0);
    expect(stderr).toContain('SIGTERM: handing over what runs, then stopping; a second one ends at once\n');
  });

  it('says in one line what keeps it from starting', async () => {
    await using other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    await using server = up('--http-address', `127.0.0.1:${port}`);
    const { exitCode, stdout, stderr } = await server.result;
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
    const [last = ''] = stderr.trimEnd().split('\n').slice(-1);
    expect(last).toBe(
      `error: another program already listens on 127.0.0.1:${port}: stop it, or choose another port (0 takes a free one)`,
    );
  });

  it('says which database it could not reach', async () => {
    await using server = up('--database-url', 'postgres://ci:secret@127.0.0.1:1/ci');
    const { exitCode, stderr } = await server.result;
    expect(exitCode).toBe(1);
    expect(stderr).toContain('error: cannot connect to PostgreSQL at 127.0.0.1:1, database ci, user ci');
    expect(stderr).not.toContain('secret');
    expect(stderr).not.toContain('    at ');
  });
});
