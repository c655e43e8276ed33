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

  it('checks pipelines at their places, stores them and tells what changed', async () => {
    await using server = up();
    await server.said('next: ');
    const [, grpcAddress = ''] = /gRPC (\S+),/.exec(server.soFar().stdout) ?? [];
    const local = { CONVEYOR_ADDRESS: grpcAddress, CONVEYOR_DATA_DIR: dataDir };
    const yaml = `name: CI
labels: { a.b: ${'x'.repeat(300)} }
jobs:
  - { name: build, driver: nobody, timeouts: { runTimeout: 0s } }
  - { name: build, driver: nobody, needs: [biuld] }
`;
    const { exitCode, stdout } = await run(['validate', '-f', '-'], local, yaml);
    expect(exitCode).toBe(2);
    expect(stdout.split('\n').map((line) => line.replace(/(must be|must have).*/, '$1'))).toEqual([
      '<stdin>:1:1: name: must be',
      '<stdin>:2:11: labels["a.b"]: must have',
      '<stdin>:4:48: jobs[0].timeouts.runTimeout: must be',
      '<stdin>:5:7: jobs[1].name: "build" is also the name of jobs[0]',
      '<stdin>:5:44: jobs[1].needs[0]: there is no job "biuld"; did you mean "build"?',
      '',
    ]);
    const good = 'name: ci\njobs:\n  - { name: build, driver: nobody, spec: { run: make } }\n';
    const answer = async (args: string[], source: string) => (await run([...args, '-f', '-'], local, source)).stdout;
    expect(await answer(['apply', '--expected-revision', '0'], good)).toBe('pipeline ci applied as revision 1\n');
    const changed = good.replace('make', 'make all');
    const change = '~ job build\n    ~ spec.run: "make" -> "make all"\n';
    expect(await answer(['diff'], changed)).toBe(`pipeline ci, revision 1 to <stdin>:\n${change}`);
    expect(await answer(['validate'], changed)).toBe('<stdin>: pipeline ci is valid and would be revision 2\n');
    await answer(['apply', '--expected-revision', '1'], changed);
    expect((await run(['diff', 'pipeline', 'ci', '1'], local)).stdout).toBe(`pipeline ci, revision 1 to 2:\n${change}`);
    const { stdout: described } = await run(['describe', 'pipeline', 'ci'], local);
    expect(await answer(['validate'], described)).toBe(
      '<stdin>: pipeline ci is valid and is unchanged at revision 2\n',
    );
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
