// Owns what every connection has in common, whoever opens it: schema, time limits, keepalives, and how values are read.
import { type ClientConfig, TypeOverrides, types } from 'pg';
import { assertSchemaName } from './schema-name.ts';
import { DatabaseStartError } from './start-error.ts';

/** Where the database is and how long it may keep its callers waiting. */
export interface DatabaseConfig {
  /** A `postgres://` URL, or the parts of one (such as those of the embedded database). */
  readonly connection: string | ConnectionParts;
  /** The schema that holds all tables. */
  readonly schema: string;
  /** Connections of the general pool. Default 10. */
  readonly poolSize?: number;
  /** Default 3000: less than a statement may take, so that the lock is named as the reason. */
  readonly lockTimeoutMs?: number;
  /** Default 6000. The client gives up on a silent server a second later, and its connection with it. */
  readonly statementTimeoutMs?: number;
}

/** A database named by parts; a host that begins with `/` is the directory of a unix socket. */
export interface ConnectionParts {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

const textArrayOid = 1009;
const int8ArrayOid = 1016;
// A server that is back is used again within 10 s, also by whoever still waits for an answer that was lost.
const connectTimeoutMs = 4_000;
const defaultStatementTimeoutMs = 6_000;
const defaultLockTimeoutMs = 3_000;
const replyGraceMs = 1_000;
const idleInTransactionMs = 5_000;

/** The `pg` configuration of a connection that is shown to the server as `conveyor <lane>`. */
export function connectionOptions(config: DatabaseConfig, lane: string): ClientConfig {
  assertSchemaName(config.schema);
  const statementTimeoutMs = config.statementTimeoutMs ?? defaultStatementTimeoutMs;
  const session = [
    ['search_path', config.schema],
    ['statement_timeout', statementTimeoutMs],
    ['lock_timeout', config.lockTimeoutMs ?? defaultLockTimeoutMs],
    ['idle_in_transaction_session_timeout', idleInTransactionMs],
    // Seconds: a client that vanished loses its session, and with it its locks, within about half a minute.
    ['tcp_keepalives_idle', 10],
    ['tcp_keepalives_interval', 5],
    ['tcp_keepalives_count', 3],
    // Statements are prepared once and run with arrays of any length: planning them each time would cost more than running them.
    ['plan_cache_mode', 'force_generic_plan'],
    // And kept: a plan that was made while a table was empty would read all of it however much it holds by now. Where there is no other
    // way the table is read all the same, and what that is thought to cost is no reason to compile it.
    ['enable_seqscan', 'off'],
    ['jit', 'off'],
  ]
    .map(([name, value]) => `-c ${name}=${value}`)
    .join(' ');
  return {
    ...target(config.connection, session, `conveyor ${lane}`),
    connectionTimeoutMillis: connectTimeoutMs,
    query_timeout: statementTimeoutMs + replyGraceMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    types: valueTypes(),
  };
}

function target(connection: string | ConnectionParts, session: string, name: string): ClientConfig {
  if (typeof connection !== 'string') return { ...connection, options: session, application_name: name };
  // What a URL says wins over every other option in pg, so ours are added to the URL; the last setting of a name counts.
  const url = parseUrl(connection);
  url.searchParams.set('options', [url.searchParams.get('options') ?? '', session].join(' ').trim());
  url.searchParams.set('application_name', name);
  return { connectionString: url.href };
}

function parseUrl(connection: string): URL {
  // Without a host the standard parser refuses user and password; the default host, or the parameter `host`, is meant.
  const url = URL.parse(connection.replace('@/', '@localhost/'));
  if (url !== null && ['postgres:', 'postgresql:'].includes(url.protocol)) return url;
  // The text may hold a password, so it is not repeated.
  throw new DatabaseStartError(
    'DATABASE_UNREACHABLE',
    'the database URL cannot be read. It looks like postgres://user:password@host:5432/database, with special ' +
      'characters of the password percent-encoded',
  );
}

function valueTypes(): TypeOverrides {
  const overrides = new TypeOverrides();
  const readTextArray = types.getTypeParser(textArrayOid as never) as (value: string) => string[];
  overrides.setTypeParser(types.builtins.INT8, readInt8);
  overrides.setTypeParser(int8ArrayOid, (value: string) => readTextArray(value).map(readInt8));
  return overrides;
}

// Every int8 of the schema counts something; none comes near the limit.
function readInt8(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`int8 ${text} cannot be held by a number`);
  return value;
}
