import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { OwnerReport } from '../testing/embedded-owner.ts';
import { type EmbeddedConnection, type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres.ts';
import { identifyProcess } from './process-identity.ts';

const ownerProgram = fileURLToPath(new URL('../testing/embedded-owner.ts', import.meta.url));
const asRoot = process.getuid?.() === 0;
const nobody = { uid: 65534, gid: 65534 };

let template: string;
let parent: string;
let dataDir: string;
const running = new Set<EmbeddedPostgres>();
const owners = new Set<ChildProcess>();

// To make a cluster takes ten times as long as to copy one.
beforeAll(async () => {
  template = await mkdtemp(join(tmpdir(), 'conveyor-embedded-'));
  await (await startEmbeddedPostgres({ dataDir: template }))[Symbol.asyncDispose]();
});

afterAll(async () => {
  await rm(template, { recursive: true });
});

beforeEach(async () => {
  // mkdtemp makes it 0700: as root, the server's user cannot enter it.
  parent = await mkdtemp(join(tmpdir(), 'conveyor-embedded-'));
  dataDir = join(parent, 'data');
});

afterEach(async () => {
  for (const postgres of running) await postgres[Symbol.asyncDispose]();
  for (const owner of owners) await letOwnerStop(owner);
  running.clear();
  owners.clear();
  await rm(parent, { recursive: true, force: true });
});

/** Puts a data directory there that was used before. */
async function putUsed(directory = dataDir): Promise<void> {
  await mkdir(dirname(directory), { recursive: true });
  await promisify(execFile)('/bin/cp', ['-a', template, directory]);
}

async function start(directory = dataDir): Promise<EmbeddedPostgres> {
  const postgres = await startEmbeddedPostgres({ dataDir: directory });
  running.add(postgres);
  return postgres;
}

async function startOwner(
  directory = dataDir,
  user: object = {},
): Promise<{ owner: ChildProcess; report: OwnerReport }> {
  const owner = spawn(process.execPath, ['--conditions=source', ownerProgram, directory], {
    ...user,
    cwd: '/',
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  owners.add(owner);
  const lines = createInterface(owner.stdout)[Symbol.asyncIterator]();
  const { value } = await lines.next();
  return { owner, report: JSON.parse(String(value)) as OwnerReport };
}

async function letOwnerStop(owner: ChildProcess): Promise<void> {
  if (owner.exitCode !== null || owner.signalCode !== null) return;
  const exited = once(owner, 'exit');
  owner.stdin?.end();
  await exited;
}

async function kill(owner: ChildProcess): Promise<void> {
  const exited = once(owner, 'exit');
  owner.kill('SIGKILL');
  await exited;
}

async function query(connection: EmbeddedConnection, sql: string): Promise<unknown[][]> {
  const client = new Client(connection);
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<unknown[]>({ text: sql, rowMode: 'array' })).rows;
  } finally {
    await client.end();
  }
}

async function serverPid(directory = dataDir): Promise<number> {
  return Number.parseInt(await readFile(join(directory, 'postgres/cluster/postmaster.pid'), 'utf8'), 10);
}

/** The user of the server, as whom another process can be in its way. */
async function serverUser(): Promise<object> {
  const { uid, gid } = await stat(join(dataDir, 'postgres/cluster'));
  return asRoot ? { uid, gid } : {};
}

/** Leaves what a server with this pid would leave that ended without cleaning up. */
async function leaveLocksOf(pid: number): Promise<void> {
  const cluster = join(dataDir, 'postgres/cluster');
  const { uid, gid } = await stat(cluster);
  for (const file of ['postmaster.pid', '.s.PGSQL.5432.lock']) {
    await writeFile(join(cluster, file), `${pid}\n${cluster}\n1700000000\n5432\n.\n`);
    await chown(join(cluster, file), uid, gid);
  }
}

function connectionOf(report: OwnerReport): EmbeddedConnection {
  if ('connection' in report) return report.connection;
  throw new Error(report.message);
}

describe('a running server', () => {
  let home: string;
  let postgres: EmbeddedPostgres;

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'conveyor-embedded-'));
    postgres = await startEmbeddedPostgres({ dataDir: join(home, 'data') });
  });
  afterAll(async () => {
    await postgres[Symbol.asyncDispose]();
    await rm(home, { recursive: true });
  });

  test('is durable, sorts by code point and listens on no network', async () => {
    const [settings] = await query(
      postgres.connection,
      `SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
              current_setting('listen_addresses'), current_setting('server_encoding'),
              (SELECT datlocale FROM pg_database WHERE datname = 'postgres'), 'Z' < 'a', upper('ä')`,
    );
    expect(settings).toEqual(['on', 'on', 'on', '', 'UTF8', 'C.UTF-8', true, 'Ä']);
  });

  test('refuses a wrong password', async () => {
    const wrong = { ...postgres.connection, password: 'wrong' };
    await expect(query(wrong, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' });
  });

  test('keeps its data directory private, and the credentials in it', async () => {
    const directory = join(home, 'data');
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    expect((await stat(join(directory, 'postgres'))).mode & 0o777).toBe(0o700);
    expect((await stat(join(directory, 'postgres/credentials.json'))).mode & 0o777).toBe(0o600);
    expect(await readdir(directory)).toEqual(['postgres', 'postgres.lock']);
  });

  test('has one owner in its process', async () => {
    const second = startEmbeddedPostgres({ dataDir: join(home, 'data') });
    await expect(second).rejects.toMatchObject({
      reason: 'DATA_DIRECTORY_IN_USE',
      message: expect.stringContaining('in use by this process'),
    });
    expect(await query(postgres.connection, 'SELECT 1')).toEqual([[1]]);
  });

  test('serves beside another one', async () => {
    await putUsed();
    const other = await start();
    await query(other.connection, 'CREATE TABLE mine ()');
    expect(await query(postgres.connection, "SELECT to_regclass('mine')")).toEqual([[null]]);
  });

  test.runIf(asRoot)('is run for root by nobody, below a directory that nobody cannot enter', async () => {
    expect(await stat(home)).toMatchObject({ uid: 0 });
    expect((await stat(home)).mode & 0o777).toBe(0o700);
    const status = await readFile(`/proc/${await serverPid(join(home, 'data'))}/status`, 'utf8');
    expect(/^Uid:\t(\d+)/m.exec(status)?.[1]).toBe('65534');
  });
});

describe('a data directory', () => {
  test('keeps what was stored from one start to the next', async () => {
    const first = await start();
    await query(first.connection, 'CREATE TABLE kept AS SELECT 42 AS answer');
    await first[Symbol.asyncDispose]();
    const second = await start();
    expect(await query(second.connection, 'SELECT answer FROM kept')).toEqual([[42]]);
  });

  test('may lie too deep for a socket address', async () => {
    const deep = join(parent, 'd'.repeat(120), 'data');
    await putUsed(deep);
    const postgres = await start(deep);
    expect(postgres.connection.host.length).toBeLessThan(100);
    expect(await query(postgres.connection, 'SELECT 1')).toEqual([[1]]);
    await postgres[Symbol.asyncDispose]();
    await expect(stat(postgres.connection.host)).rejects.toThrow('ENOENT');
  });

  test('of another PostgreSQL is refused and left as it is', async () => {
    await putUsed();
    const version = join(dataDir, 'postgres/cluster/PG_VERSION');
    await writeFile(version, '19\n');
    await expect(start()).rejects.toMatchObject({
      reason: 'DATA_DIRECTORY_OTHER_VERSION',
      message: expect.stringMatching(/made by PostgreSQL 19, and this Conveyor brings PostgreSQL 18.*pg_dump/),
    });
    expect(await readFile(version, 'utf8')).toBe('19\n');
    expect(await readdir(dataDir)).toEqual(['postgres']);
  });

  test('that misses its credentials is refused', async () => {
    await putUsed();
    await rm(join(dataDir, 'postgres/credentials.json'));
    await expect(start()).rejects.toMatchObject({ reason: 'DATA_DIRECTORY_DAMAGED' });
  });

  test('is made afresh when an earlier start was cut off while making it', async () => {
    const cutOff = join(dataDir, 'postgres.init-aB3xYz/cluster/base');
    await mkdir(cutOff, { recursive: true });
    const postgres = await start();
    expect(await query(postgres.connection, 'SELECT 1')).toEqual([[1]]);
    expect(await readdir(dataDir)).toEqual(['postgres', 'postgres.lock']);
  });
});

describe('a server', () => {
  test('that is killed under its owner is started again', async () => {
    await putUsed();
    const { connection } = await start();
    await query(connection, 'CREATE TABLE kept AS SELECT 42 AS answer');
    const pid = await serverPid();
    process.kill(pid, 'SIGKILL');
    await vi.waitFor(async () => expect(await query(connection, 'SELECT answer FROM kept')).toEqual([[42]]), 15_000);
    expect(await serverPid()).not.toBe(pid);
  });
});

describe('the owner', () => {
  test('is the only one, and who comes second learns its process', async () => {
    await putUsed();
    const { owner, report } = await startOwner();
    await expect(start()).rejects.toMatchObject({
      reason: 'DATA_DIRECTORY_IN_USE',
      message: expect.stringContaining(`in use by process ${owner.pid} `),
    });
    expect(await query(connectionOf(report), 'SELECT 1')).toEqual([[1]]);
  });

  test('that is killed leaves its server to the next one', async () => {
    await putUsed();
    const { owner, report } = await startOwner();
    await query(connectionOf(report), 'CREATE TABLE kept AS SELECT 42 AS answer');
    const pid = await serverPid();
    await kill(owner);
    expect(await identifyProcess(pid)).toBeDefined();

    const next = await start();
    expect(await serverPid()).toBe(pid);
    expect(await query(next.connection, 'SELECT answer FROM kept')).toEqual([[42]]);
    await next[Symbol.asyncDispose]();
    expect(await identifyProcess(pid)).toBeUndefined();
  });

  test('that is killed together with its server is followed by one that recovers', async () => {
    await putUsed();
    const { owner, report } = await startOwner();
    await query(connectionOf(report), 'CREATE TABLE kept AS SELECT 42 AS answer');
    const pid = await serverPid();
    await kill(owner);
    process.kill(pid, 'SIGKILL');

    const next = await start();
    expect(await serverPid()).not.toBe(pid);
    expect(await query(next.connection, 'SELECT answer FROM kept')).toEqual([[42]]);
  });

  test('never touches a stranger that was given the pid of a server that ended', async () => {
    await putUsed();
    const stranger = spawn('/bin/cat', { ...(await serverUser()), cwd: '/', stdio: ['pipe', 'ignore', 'ignore'] });
    owners.add(stranger);
    await leaveLocksOf(Number(stranger.pid));
    const next = await start();
    expect(await query(next.connection, 'SELECT 1')).toEqual([[1]]);
    await next[Symbol.asyncDispose]();
    expect(stranger.exitCode ?? stranger.signalCode).toBeNull();
  });

  test('starts a server although nobody has waited for the one that ended', async () => {
    await putUsed();
    const options = {
      ...(await serverUser()),
      cwd: '/',
      stdio: ['pipe', 'pipe', 'ignore'] as ['pipe', 'pipe', 'ignore'],
    };
    // The shell becomes cat, which does not wait for the child of the shell.
    const shell = spawn('/bin/sh', ['-c', '/bin/sleep 60 & echo $!; exec /bin/cat'], options);
    owners.add(shell);
    const lines = createInterface(shell.stdout)[Symbol.asyncIterator]();
    const ended = Number((await lines.next()).value);
    shell.stdin.write('it is cat now\n');
    await lines.next();
    process.kill(ended, 'SIGKILL');
    await vi.waitFor(async () => expect(await identifyProcess(ended)).toBeUndefined(), 10_000);
    expect(process.kill(ended, 0)).toBe(true);
    await leaveLocksOf(ended);
    expect(await query((await start()).connection, 'SELECT 1')).toEqual([[1]]);
  });

  test.runIf(asRoot)('as root takes over a copy that root itself made', async () => {
    await putUsed();
    for (const entry of await readdir(dataDir, { recursive: true })) await chown(join(dataDir, entry), 0, 0);
    expect(await query((await start()).connection, 'SELECT 1')).toEqual([[1]]);
  });

  test('may be any other user', async ({ skip }) => {
    skip(!asRoot || !(await canRead(ownerProgram, nobody)), 'needs root, and sources that other users can read');
    await chown(parent, nobody.uid, nobody.gid);
    const { report } = await startOwner(dataDir, nobody);
    expect(await query(connectionOf(report), 'SELECT 1')).toEqual([[1]]);
    expect((await stat(join(dataDir, 'postgres/credentials.json'))).uid).toBe(nobody.uid);
  });
});

async function canRead(path: string, user: object): Promise<boolean> {
  const child = spawn('/bin/cat', [path], { ...user, cwd: '/', stdio: 'ignore' });
  const [code] = await once(child, 'exit');
  return code === 0;
}
