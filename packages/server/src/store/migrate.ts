// Owns the shape of the schema: applies the numbered SQL files in order, each once, whoever else tries at the same time.
// A database that a newer version has shaped is never touched.
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { DatabaseError, type Pool, type PoolClient } from 'pg';
import { assertSchemaName } from './schema-name.ts';
import { DatabaseStartError } from './start-error.ts';

const oldestServer = 15;
// How long a start waits for another replica that migrates, and a statement of a migration may run.
const patienceMs = 600_000;
const lockTimeoutMs = 5_000;

export interface MigrateOptions {
  /** Where the files `NNNN_name.sql` are. Default: those of this package. */
  readonly directory?: string;
}

interface Migration {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
  readonly digest: string;
}

interface Applied {
  readonly version: number;
  readonly name: string;
  readonly digest: string;
}

/**
 * Brings `schema` to the version of this package, creating it if needed; returns the versions that it applied.
 * Safe to call from many processes at once. Each file runs in a transaction of its own, with the schema as search path.
 * Throws DatabaseStartError: DATABASE_TOO_OLD (the server), DATABASE_TOO_NEW (the schema), DATABASE_FORBIDS (what the role
 * may not), MIGRATION_CHANGED, MIGRATION_FAILED or SCHEMA_NAME_INVALID.
 */
export async function migrate(pool: Pool, schema: string, options: MigrateOptions = {}): Promise<number[]> {
  assertSchemaName(schema);
  const directory = options.directory ?? fileURLToPath(new URL('../../migrations', import.meta.url));
  const migrations = await readMigrations(directory);
  const client = await pool.connect();
  try {
    await assertServerVersion(client);
    await configureSession(client, schema);
    return await applyMissing(client, schema, migrations);
  } finally {
    // Closing the session undoes its settings and gives the lock free.
    client.release(true);
  }
}

async function readMigrations(directory: string): Promise<Migration[]> {
  const files = (await readdir(directory)).filter((file) => file.endsWith('.sql')).toSorted();
  return await Promise.all(
    files.map(async (file, index) => {
      const [, digits, name] = /^(\d{4})_([a-z0-9_]+)\.sql$/.exec(file) ?? [];
      const version = Number(digits);
      if (name === undefined || version !== index + 1) {
        throw new Error(`migrations are numbered from 0001 without gaps, as NNNN_name.sql; found ${file}`);
      }
      // Checkouts may differ in line ends; that is no change.
      const sql = (await readFile(join(directory, file), 'utf8')).replaceAll('\r\n', '\n');
      return { version, name, sql, digest: createHash('sha256').update(sql).digest('hex') };
    }),
  );
}

async function assertServerVersion(client: PoolClient): Promise<void> {
  const { rows } = await client.query<{ number: number; text: string }>(
    "SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS text",
  );
  const [found] = rows;
  if (found === undefined || found.number >= oldestServer * 10_000) return;
  throw new DatabaseStartError(
    'DATABASE_TOO_OLD',
    `the server runs PostgreSQL ${found.text}, and Conveyor needs ${oldestServer} or later. Upgrade it, or use another`,
  );
}

async function configureSession(client: PoolClient, schema: string): Promise<void> {
  await client.query(
    `SELECT set_config('search_path', $1, false), set_config('statement_timeout', $2, false),
            set_config('lock_timeout', '0', false), set_config('application_name', 'conveyor migrate', false)`,
    [schema, String(patienceMs)],
  );
  await client.query({
    text: 'SELECT pg_advisory_lock(hashtextextended($1, 0))',
    values: [`conveyor migrate ${schema}`],
    query_timeout: patienceMs,
  } as { text: string; values: string[] });
  await client.query("SELECT set_config('lock_timeout', $1, false)", [String(lockTimeoutMs)]);
}

async function applyMissing(client: PoolClient, schema: string, migrations: Migration[]): Promise<number[]> {
  await createLedger(client, schema);
  const { rows: applied } = await client.query<Applied>(
    'SELECT version, name, digest FROM migrations ORDER BY version',
  );
  for (const row of applied) assertKnown(row, schema, migrations);
  const missing = migrations.filter(({ version }) => applied.every((row) => row.version !== version));
  for (const migration of missing) await apply(client, migration);
  return missing.map(({ version }) => version);
}

async function createLedger(client: PoolClient, schema: string): Promise<void> {
  try {
    // Even IF NOT EXISTS asks for the right to create, which an administrator who made the schema need not grant.
    const { rowCount } = await client.query('SELECT FROM pg_namespace WHERE nspname = $1', [schema]);
    if (rowCount === 0) await client.query(`CREATE SCHEMA ${schema}`);
    await client.query(`
      CREATE TABLE IF NOT EXISTS migrations (
        version    integer     PRIMARY KEY,
        name       text        NOT NULL,
        digest     text        NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
      )`);
  } catch (cause) {
    if (!(cause instanceof DatabaseError) || !lackOfRights.has(cause.code ?? '')) throw cause;
    throw await forbidden(client, schema, cause);
  }
}

/** insufficient_privilege; and invalid_schema_name, since a schema that may not be used counts as none. */
const lackOfRights: ReadonlySet<string> = new Set(['42501', '3F000']);

async function forbidden(client: PoolClient, schema: string, cause: DatabaseError): Promise<DatabaseStartError> {
  const { rows } = await client.query<{ role: string; database: string }>(
    'SELECT quote_ident(current_user) AS role, quote_ident(current_database()) AS database',
  );
  const { role = '', database = '' } = rows[0] ?? {};
  return new DatabaseStartError(
    'DATABASE_FORBIDS',
    `role ${role} may not make schema ${schema} in database ${database}, or tables in it: ${cause.message}. As an ` +
      `administrator of that database, run CREATE SCHEMA IF NOT EXISTS ${schema}; ALTER SCHEMA ${schema} OWNER TO ${role}; ` +
      `or GRANT CREATE ON DATABASE ${database} TO ${role}; if the schema is not there yet`,
    { cause },
  );
}

function assertKnown(row: Applied, schema: string, migrations: readonly Migration[]): void {
  const known = migrations[row.version - 1];
  if (known === undefined) {
    throw new DatabaseStartError(
      'DATABASE_TOO_NEW',
      `schema ${schema} is at version ${row.version} (${row.name}), and this Conveyor knows versions up to ` +
        `${migrations.length}: a newer Conveyor has upgraded it. Run that version or a later one, or restore a backup ` +
        'from before the upgrade',
    );
  }
  if (known.digest !== row.digest) {
    throw new DatabaseStartError(
      'MIGRATION_CHANGED',
      `migration ${row.version} (${known.name}) differs from the one that schema ${schema} was made with ` +
        `(${row.name}). Use an unmodified release; a change of the schema is a new migration`,
    );
  }
}

async function apply(client: PoolClient, { version, name, sql, digest }: Migration): Promise<void> {
  try {
    await client.query('BEGIN');
    await client.query({ text: sql, query_timeout: patienceMs } as { text: string });
    await client.query('INSERT INTO migrations (version, name, digest) VALUES ($1, $2, $3)', [version, name, digest]);
    await client.query('COMMIT');
  } catch (cause) {
    const { message } = cause as Error;
    const line = cause instanceof DatabaseError ? lineOf(sql, cause.position) : '';
    throw new DatabaseStartError(
      'MIGRATION_FAILED',
      `migration ${version} (${name})${line}: ${message}. It has changed nothing; once the cause is removed, start again`,
      { cause },
    );
  }
}

function lineOf(sql: string, position: string | undefined): string {
  return position === undefined ? '' : ` line ${sql.slice(0, Number(position)).split('\n').length}`;
}
