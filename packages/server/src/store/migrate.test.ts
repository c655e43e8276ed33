import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createPools, type Pools } from './connect.ts';
import { migrate } from './migrate.ts';
import { createTestDatabase, type TestDatabase } from './testing/database.ts';

const packaged = fileURLToPath(new URL('../../migrations', import.meta.url));
const migratingProcess = fileURLToPath(new URL('testing/migrating-process.ts', import.meta.url));

let database: TestDatabase;
let pools: Pools;
let directory: string;

beforeAll(async () => {
  database = await createTestDatabase();
  pools = await createPools(database.config);
});
afterAll(async () => {
  await pools[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'conveyor-migrations-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

async function write(name: string, sql: string): Promise<void> {
  await writeFile(join(directory, name), sql);
}

async function tablesOf(schema: string): Promise<string[]> {
  const { rows } = await pools.pool.query<{ tables: string[] }>(
    "SELECT coalesce(array_agg(relname::text ORDER BY relname), '{}') AS tables FROM pg_class WHERE relnamespace = to_regnamespace($1) AND relkind IN ('r', 'p')",
    [schema],
  );
  return rows[0]!.tables;
}

/** Brings the schema to two small versions. */
async function atVersionTwo(schema: string): Promise<void> {
  await write('0001_one.sql', 'CREATE TABLE one ();\n');
  await write('0002_two.sql', 'CREATE TABLE two ();\n');
  expect(await migrate(pools.pool, schema, { directory })).toEqual([1, 2]);
}

describe('a schema', () => {
  test('is made, brought to the newest version, and then left alone', async () => {
    const versions = (await readdir(packaged)).map((_, index) => index + 1);
    expect(await migrate(pools.pool, 'made')).toEqual(versions);
    expect(await tablesOf('made')).toEqual(expect.arrayContaining(['events', 'jobs', 'migrations', 'runs']));
    expect(await migrate(pools.pool, 'made')).toEqual([]);
  });

  test('gets only what it lacks', async () => {
    await atVersionTwo('lacking');
    await write('0003_three.sql', 'CREATE TABLE three ();');
    expect(await migrate(pools.pool, 'lacking', { directory })).toEqual([3]);
    expect(await tablesOf('lacking')).toEqual(['migrations', 'one', 'three', 'two']);
  });

  test('is migrated once by processes that start together', async () => {
    const migrators = await Promise.all(Array.from({ length: 2 }, () => startMigrator('together')));
    for (const { begin } of migrators) begin();
    const applied = await Promise.all(migrators.map(({ applied }) => applied()));
    const versions = (await readdir(packaged)).map((_, index) => index + 1);
    expect(applied.toSorted((a, b) => a.length - b.length)).toEqual([[], versions]);
  });

  test('is migrated once by many callers', async () => {
    const applied = await Promise.all(Array.from({ length: 5 }, () => migrate(pools.pool, 'many')));
    expect(applied.filter((versions) => versions.length > 0)).toHaveLength(1);
  });

  test('shares its database with another one', async () => {
    await migrate(pools.pool, 'ours');
    await migrate(pools.pool, 'theirs');
    await pools.pool.query('INSERT INTO ours.tokens VALUES ($1, $2, $3, null, 0)', [Buffer.of(1), 'x', 'operator']);
    expect((await pools.pool.query('SELECT FROM theirs.tokens')).rowCount).toBe(0);
  });
});

describe('refused, and nothing is changed:', () => {
  test('a schema that a newer version has upgraded', async () => {
    await atVersionTwo('newer');
    await rm(join(directory, '0002_two.sql'));
    await write('0001_one.sql', 'CREATE TABLE one ();\n');
    await expect(migrate(pools.pool, 'newer', { directory })).rejects.toMatchObject({
      reason: 'DATABASE_TOO_NEW',
      message: expect.stringMatching(/schema newer is at version 2 \(two\).*knows versions up to 1.*newer Conveyor/s),
    });
    expect(await tablesOf('newer')).toEqual(['migrations', 'one', 'two']);
  });

  test('a migration that was changed after it was applied', async () => {
    await atVersionTwo('changed');
    await write('0001_one.sql', 'CREATE TABLE one (added int);\n');
    await write('0003_three.sql', 'CREATE TABLE three ();');
    await expect(migrate(pools.pool, 'changed', { directory })).rejects.toMatchObject({
      reason: 'MIGRATION_CHANGED',
      message: expect.stringContaining('migration 1 (one) differs'),
    });
    expect(await tablesOf('changed')).toEqual(['migrations', 'one', 'two']);
  });

  test('a migration that fails, by its line, and it can be tried again', async () => {
    await write('0001_one.sql', 'CREATE TABLE one ();');
    await write('0002_two.sql', 'CREATE TABLE two ();\nCREATE TABLE three (\n  wrong nonsense\n);\n');
    await expect(migrate(pools.pool, 'failing', { directory })).rejects.toMatchObject({
      reason: 'MIGRATION_FAILED',
      message: expect.stringMatching(
        /^migration 2 \(two\) line 3: type "nonsense" does not exist\. It has changed nothing/,
      ),
    });
    expect(await tablesOf('failing')).toEqual(['migrations', 'one']);
    await write('0002_two.sql', 'CREATE TABLE two ();');
    expect(await migrate(pools.pool, 'failing', { directory })).toEqual([2]);
  });

  test('a migration that cannot be recorded', async () => {
    await write('0001_one.sql', 'CREATE TABLE one ();');
    await write('0002_two.sql', 'CREATE TABLE two ();\nALTER TABLE migrations ADD CHECK (version < 2);');
    await expect(migrate(pools.pool, 'unrecorded', { directory })).rejects.toMatchObject({
      reason: 'MIGRATION_FAILED',
    });
    expect(await tablesOf('unrecorded')).toEqual(['migrations', 'one']);
  });

  test.each(['Upper', 'with space', 'pg_mine', '1st', 'a;drop', '', 'x'.repeat(64)])(
    'a schema called %j',
    async (schema) => {
      await expect(migrate(pools.pool, schema)).rejects.toMatchObject({ reason: 'SCHEMA_NAME_INVALID' });
    },
  );

  test.each([['0002_gap.sql'], ['first.sql'], ['0001_Upper.sql']])(
    'a file called %s as the first one',
    async (name) => {
      await write(name, 'CREATE TABLE one ();');
      await expect(migrate(pools.pool, 'misnamed', { directory })).rejects.toThrow(`found ${name}`);
    },
  );
});

describe('a role without the rights', () => {
  const role = `limited_${randomBytes(6).toString('hex')}`;
  let limited: Pools;

  beforeAll(async () => {
    const url = new URL(database.config.connection);
    await pools.pool.query(`CREATE ROLE ${role} LOGIN PASSWORD '${role}'`);
    url.username = url.password = role;
    limited = await createPools({ ...database.config, connection: url.href });
  });
  afterAll(async () => {
    await limited[Symbol.asyncDispose]();
    await pools.pool.query(`DROP OWNED BY ${role} CASCADE`);
    await pools.pool.query(`DROP ROLE ${role}`);
  });

  test.each([
    ['to make the schema', 'absent', 'SELECT', 'permission denied for database'],
    ['to use the schema', 'unusable', 'CREATE SCHEMA unusable', 'no schema has been selected to create in'],
    [
      'to make tables in it',
      'readable',
      `CREATE SCHEMA readable; GRANT USAGE ON SCHEMA readable TO ${role}`,
      'permission denied for schema readable',
    ],
  ])('%s is told what to grant, and starts once that is done', async (_, schema, prepare, cause) => {
    await pools.pool.query(prepare);
    const refusal = await migrate(limited.pool, schema).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ reason: 'DATABASE_FORBIDS', message: expect.stringContaining(cause) });
    const [, grants = ''] = /, run (CREATE SCHEMA .*; ALTER SCHEMA .*;) or /.exec((refusal as Error).message) ?? [];
    await pools.pool.query(grants);
    expect((await migrate(limited.pool, schema)).length).toBeGreaterThan(0);
  });
});

test('other line ends in a checkout are no change', async () => {
  await atVersionTwo('lines');
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    await writeFile(path, (await readFile(path, 'utf8')).replaceAll('\n', '\r\n'));
  }
  expect(await migrate(pools.pool, 'lines', { directory })).toEqual([]);
});

async function startMigrator(schema: string): Promise<{ begin: () => void; applied: () => Promise<number[]> }> {
  const args = ['--conditions=source', migratingProcess, database.config.connection, schema];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  expect((await lines.next()).value).toBe('ready');
  return {
    begin: () => child.stdin.write('begin\n'),
    applied: async () => JSON.parse(String((await lines.next()).value)) as number[],
  };
}
