// Owns one connection that is replaced when it breaks. A connection that failed for another reason than the server's
// answer is never used again.
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Client, type ClientBase, type ClientConfig } from 'pg';
import { RefusedError } from '../core/refusal.ts';
import { GatheringSocket } from './gathering-socket.ts';
import { isConnectionUseless, DatabaseAway } from './outage.ts';

const firstRetryMs = 50;
const longestRetryMs = 2_000;
const transactionsOfName = 1_000;
/** How long an orderly goodbye may take; a server that is out of reach never answers it. */
const goodbyeMs = 1_000;

/** What connections tell; a pino logger fits. */
export interface ConnectionLog {
  warn(fields: object, message: string): void;
}

export interface LaneOptions {
  /** Runs on each new connection before anything else does, for example to LISTEN. */
  readonly prepare?: (client: ClientBase) => Promise<void>;
  /** Hears that a connection turned out to be useless. */
  readonly onUseless?: () => void;
}

/** One connection to the database. Its owner runs one piece of work at a time. */
export interface Lane extends AsyncDisposable {
  /**
   * Names it for one transaction, among all lanes of all processes. It takes another name from time to time: the versions of a row
   * that is written ever again stay, and are in the way, for as long as anybody in the cluster has an old snapshot.
   */
  name(): string;
  /**
   * Runs `work` on the connection, waiting for one while the database is away. Nothing is repeated: when the
   * connection breaks under `work`, `work` fails. A transaction left open is rolled back.
   * Rejects with the signal's reason when aborted while it waits, and with an error once the lane is closed.
   */
  use<T>(work: (client: ClientBase) => Promise<T>, signal?: AbortSignal): Promise<T>;
}

interface Link {
  readonly client: Client;
  /** Keeps others from using the connection and has it replaced; may be called again. */
  readonly drop: () => void;
}

/** Has `discard` called as soon as a query shows that `client` is useless, before whoever asked learns of it. */
export function discardWhenUseless(client: ClientBase, discard: () => void): void {
  // A reply that comes after its query was given up would be taken for the reply to the next query. This handler is
  // added before the caller's, so a pool cannot lend the connection again in between.
  const send = client.query.bind(client) as (...input: unknown[]) => unknown;
  const guarded = (...input: unknown[]): unknown => {
    const reply = send(...input);
    if (reply instanceof Promise) {
      reply.catch((error: unknown) => {
        if (isConnectionUseless(error)) discard();
      });
    }
    return reply;
  };
  client.query = guarded as ClientBase['query'];
}

/** @throws DatabaseAway when what is committed elsewhere need not be visible here, and nothing can be written. */
export async function assertWritable(client: ClientBase): Promise<void> {
  const { rows } = await client.query<{ read_only: string }>(
    "select current_setting('transaction_read_only') as read_only",
  );
  if (rows[0]?.read_only === 'on') {
    throw new DatabaseAway('the server is read-only: a standby, or default_transaction_read_only is on');
  }
}

/** Closes a connection that may be broken already, or lead nowhere. */
export async function close(client: Client): Promise<void> {
  const timer = setTimeout(() => cutOff(client), goodbyeMs);
  await client.end().catch(() => undefined);
  clearTimeout(timer);
}

/** Ends a connection without a word. Whatever waits on it fails. */
export function cutOff(client: Client): void {
  client.connection.stream.destroy();
}

/** Opens a lane; it connects in the background until it is disposed. */
export function openLane(options: ClientConfig, { prepare, onUseless }: LaneOptions = {}, log?: ConnectionLog): Lane {
  const closing = new AbortController();
  let ready = awaitLink();
  let name = randomUUID();
  let named = 0;

  async function keepConnected(): Promise<void> {
    let retryMs = firstRetryMs;
    while (!closing.signal.aborted) {
      const mine = ready;
      const dropped = Promise.withResolvers<void>();
      let usable = false;
      const drop = () => {
        // Until this connection was usable, everybody waits for `mine`, and goes on waiting for it.
        if (usable && ready === mine && !closing.signal.aborted) ready = awaitLink();
        dropped.resolve();
      };
      const client = new Client({ ...options, stream: () => new GatheringSocket() });
      discardWhenUseless(client, () => {
        drop();
        onUseless?.();
      });
      client.on('error', drop).on('end', drop);
      const giveUp = () => cutOff(client);
      closing.signal.addEventListener('abort', giveUp, { once: true });
      try {
        await client.connect();
        await assertWritable(client);
        await prepare?.(client);
        closing.signal.removeEventListener('abort', giveUp);
      } catch (error) {
        if (!closing.signal.aborted)
          log?.warn({ err: error, lane: options.application_name }, 'database connection failed, trying again');
        await close(client);
        await delay(retryMs * (0.5 + Math.random() / 2), undefined, closing).catch(() => undefined);
        retryMs = Math.min(retryMs * 2, longestRetryMs);
        continue;
      }
      retryMs = firstRetryMs;
      usable = true;
      mine.resolve({ client, drop });
      closing.signal.addEventListener('abort', drop, { once: true });
      if (closing.signal.aborted) drop();
      await dropped.promise;
      // Again, in case that it broke just before it was usable.
      drop();
      closing.signal.removeEventListener('abort', drop);
      await close(client);
    }
  }

  const kept = keepConnected();
  return {
    name() {
      if (named++ === transactionsOfName) {
        name = randomUUID();
        named = 1;
      }
      return name;
    },
    async use(work, signal) {
      const { client, drop } = await unlessAborted(ready.promise, signal);
      let failed = true;
      try {
        const result = await work(client);
        failed = false;
        return result;
      } finally {
        // Work that failed may have statements under way, BEGIN among them, so whether a transaction is open is not known
        // yet. A failed ROLLBACK closes the connection, and with it the transaction.
        if (failed || client.getTransactionStatus() !== 'I') await client.query('ROLLBACK').catch(drop);
      }
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
      // Whoever waits is told at once, and whoever comes later.
      ready.reject(laneClosed());
      ready = awaitLink();
      ready.reject(laneClosed());
      await kept;
    },
  };
}

function laneClosed(): RefusedError {
  return new RefusedError({ refused: 'SERVER_STOPPING', message: 'the lane is closed: this server is stopping' });
}

function awaitLink(): PromiseWithResolvers<Link> {
  const link = Promise.withResolvers<Link>();
  // Closing a lane that nobody waits for is no failure.
  link.promise.catch(() => undefined);
  return link;
}

async function unlessAborted<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (signal === undefined) return await promise;
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
