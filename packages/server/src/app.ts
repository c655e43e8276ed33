// The composition root: builds the control plane from database to doors, and stops it in the opposite order. It handles no signals,
// ends no process, and touches nothing outside its schema and its data directory.
import pino, { type Logger } from 'pino';
import { type Api, type Authenticate, createApi, type Door, type DoorOptions } from './api/api.ts';
import { checkFree, checkOptions } from './api/door.ts';
import type { RequestListener } from './api/http/request-listener.ts';
import { DEFAULT_TIMING, LIMITS, type Timing } from './core/limits.ts';
import { assertQueueShares, type QueueShares } from './core/queue-shares.ts';
import { assertRetention, type Retention } from './core/retention.ts';
import type { ResolveSecrets } from './engine/offers.ts';
import { startEngine } from './engine/start-engine.ts';
import { buildOrUndo, type Teardown } from './engine/teardown.ts';
import { ensureTokens } from './engine/tokens.ts';
import { createPools } from './store/connect.ts';
import { startEmbeddedPostgres } from './store/embedded/embedded-postgres.ts';
import { migrate } from './store/migrate.ts';
import { VERSION } from './version.ts';

const DEFAULT_GRPC_ADDRESS = '127.0.0.1:7070';
const DEFAULT_HTTP_ADDRESS = '127.0.0.1:8080';
const DEFAULT_SCHEMA = 'conveyor';

/** Where the state is: an embedded PostgreSQL in a directory, or a server of your own (PostgreSQL 15 or later). */
export type DatabaseOptions = { readonly dataDir: string } | { readonly url: string };

/** A door: where it listens, and with which certificate. */
export type DoorSettings = Partial<DoorOptions>;

export interface ConveyorOptions {
  readonly database: DatabaseOptions;
  /** The schema that holds every table. Default: `conveyor`. */
  readonly schema?: string;
  /** Native gRPC, for drivers and any gRPC client. Default: 127.0.0.1:7070. False: no such door. */
  readonly grpc?: DoorSettings | false;
  /** Connect, gRPC-Web and health over HTTP. Default: 127.0.0.1:8080. False: no such door. */
  readonly http?: (DoorSettings & { readonly corsOrigins?: readonly string[] }) | false;
  /**
   * Where the token files are made and kept. Default: the data directory of an embedded database; none with `url`, and then only
   * `authenticate` lets anybody in.
   */
  readonly dataDir?: string;
  /** More driver tokens, each limited to driver names, by the name of their file in the data directory. Default: none. */
  readonly driverTokens?: Readonly<Record<string, readonly string[]>>;
  /** Takes the place of bearer tokens: finds out who calls. */
  readonly authenticate?: Authenticate;
  /** Finds the values of the secrets that jobs ask for. Default: jobs that ask for secrets fail as INVALID. */
  readonly resolveSecrets?: ResolveSecrets;
  /** How long leases last, and how often drivers renew them: the same at every replica. Default: 30 s and 5 s. */
  readonly timing?: Timing;
  /** The largest log of an attempt, in bytes, at least 1: the same at every replica. Default: 1 GiB. */
  readonly maxLogBytes?: number;
  /** How long finished runs and logs are kept. Every replica keeps to its own: give all the same. Default: for ever. */
  readonly retention?: Retention;
  /**
   * Weights of projects, by name, and of pipelines, by `project/pipeline`, in the turns of queued jobs: whole numbers from 1 to 1,000. Every
   * replica keeps to its own: give all the same. Default: 1 for each.
   */
  readonly queueShares?: QueueShares;
  /** Default: a pino logger on standard error at level `info`. */
  readonly logger?: Logger;
}

/** A running control plane. Disposing drains its sessions, finishes what is in flight, closes the doors, then the database. */
export interface Conveyor extends AsyncDisposable {
  /** Calls from within this process, without a network, as an operator. */
  readonly transport: Api['transport'];
  /** For an HTTP server of your own: Connect, gRPC-Web, `/healthz` and `/readyz`. */
  readonly httpHandler: RequestListener;
  /** `HOST:PORT` as it listens; undefined without the door. */
  readonly grpcAddress: string | undefined;
  readonly httpAddress: string | undefined;
  /** This server's version. */
  readonly version: string;
}

/**
 * Starts a control plane.
 * @throws RangeError when a setting of `retention` or `queueShares` cannot be kept to.
 * @throws DatabaseStartError when the database cannot be started, reached or migrated.
 * @throws DoorError when a door cannot be opened.
 * @throws RangeError when `maxLogBytes` is out of bounds.
 */
export function startConveyor(options: ConveyorOptions): Promise<Conveyor> {
  return buildOrUndo((stack) => build(stack, options));
}

async function build(stack: Teardown, options: ConveyorOptions): Promise<Conveyor> {
  const { retention = {}, queueShares = {} } = options;
  assertRetention(retention);
  assertQueueShares(queueShares);
  const log = options.logger ?? pino({ name: 'conveyor' }, pino.destination({ dest: 2, sync: true }));
  const { schema = DEFAULT_SCHEMA, maxLogBytes = LIMITS.logBytes } = options;
  if (!Number.isSafeInteger(maxLogBytes) || maxLogBytes < 1) {
    throw new RangeError(`maxLogBytes is ${maxLogBytes}: give a whole number of bytes, at least 1`);
  }
  const grpc = options.grpc === false ? undefined : { address: DEFAULT_GRPC_ADDRESS, ...options.grpc };
  const http = options.http === false ? undefined : { address: DEFAULT_HTTP_ADDRESS, ...options.http };
  // Before a database is made that nobody could reach then.
  for (const door of [grpc, http]) if (door !== undefined) await checkFree(checkOptions(door));
  const connection = await openDatabase(stack, options.database, log);
  const pools = stack.use(await createPools({ connection, schema }, log.child({ component: 'store' })));
  await migrate(pools.pool, schema);
  const dataDir = options.dataDir ?? ('dataDir' in options.database ? options.database.dataDir : undefined);
  if (dataDir !== undefined) {
    const { driverTokens } = options;
    const tokens = { pool: pools.pool, dataDir, log, ...(driverTokens !== undefined && { driverTokens }) };
    await ensureTokens(tokens);
  }
  const engine = stack.use(
    await startEngine({
      pools,
      schema,
      version: VERSION,
      timing: options.timing ?? DEFAULT_TIMING,
      maxLogBytes,
      retention,
      queueShares,
      resolveSecrets: options.resolveSecrets,
      log: log.child({ component: 'engine' }),
    }),
  );
  const api = createApi({
    engine,
    version: VERSION,
    authenticate: options.authenticate,
    corsOrigins: http?.corsOrigins ?? [],
    log: log.child({ component: 'api' }),
  });
  const grpcDoor = grpc && stack.use(await api.listenGrpc(grpc));
  const httpDoor = http && stack.use(await api.listenHttp(http));
  stack.defer(async () => {
    api.beginStop();
    await engine.drainSessions(AbortSignal.timeout(DRAIN_MS));
  });
  return {
    transport: api.transport,
    httpHandler: api.httpHandler,
    grpcAddress: addressOf(grpcDoor),
    httpAddress: addressOf(httpDoor),
    version: VERSION,
    [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose](),
  };
}

const DRAIN_MS = 5_000;

async function openDatabase(stack: Teardown, database: DatabaseOptions, log: Logger) {
  if ('url' in database) return database.url;
  const postgres = await startEmbeddedPostgres({
    dataDir: database.dataDir,
    log: log.child({ component: 'embedded-postgres' }),
  });
  return stack.use(postgres).connection;
}

function addressOf(door: Door | undefined): string | undefined {
  return door?.address;
}
