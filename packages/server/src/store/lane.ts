// Owns one connection that is replaced when it breaks. A connection that failed for another reason than the server's
// answer is never used again.
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Client, type ClientBase, type ClientConfig } from 'pg';
import { RefusedError } from '../core/refusal.ts';
import { assertWritable, close, cutOff, type QueryWatch, watchQueries } from './connection.ts';
import { GatheringSocket } from './gathering-socket.ts';
import { isSilence } from './outage.ts';

const firstRetryMs = 50;
const longestRetryMs = 2_000;
const transactionsOfName = 1_000;

/** What connections tell; a pino logger fits. */
export interface ConnectionLog {
  warn(fields: object, message: string): void;
}

export interface LaneOptions {
  /** Runs on each new connection before anything else does, for example to LISTEN. */
  readonly prepare?: (client: ClientBase) => Promise<void>;
  /** Hears that the server did not answer. */
  readonly onSilence?: () => void;
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
  /** Another connection leads nowhere: replaces this one if it is idle, or if what it is used for does not end soon. */
  doubt(): void;
}

interface Link {
  readonly client: Client;
  readonly queries: QueryWatch;
  /** Keeps others from using the connection and has it replaced; may be called again. */
  readonly drop: () => void;
}

/** Opens a lane; it connects in the background until it is disposed. */
export function openLane(options: ClientConfig, { prepare, onSilence }: LaneOptions = {}, log?: ConnectionLog): Lane {
  const closing = new AbortController();
  let ready = awaitLink();
  let name = randomUUID();
  let named = 0;
  let users = 0;
  let current: Link | undefined;

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
      const queries = watchQueries(client, (error) => {
        drop();
        if (isSilence(error)) onSilence?.();
      });
      client.on('error', drop).on('end', drop);
      const giveUp = () => cutOff(client);
      closing.signal.addEventListener('abort', giveUp, { once: true });
      try {
        await client.connect();
        await assertWritable(client);
        await prepare?.(client);
      } catch (error) {
        if (!closing.signal.aborted)
          log?.warn({ err: error, lane: options.application_name }, 'database connection failed, trying again');
        await close(client);
        await delay(retryMs * (0.5 + Math.random() / 2), undefined, closing).catch(() => undefined);
        retryMs = Math.min(retryMs * 2, longestRetryMs);
        continue;
      } finally {
        closing.signal.removeEventListener('abort', giveUp);
      }
      retryMs = firstRetryMs;
      usable = true;
      current = { client, drop, queries };
      mine.resolve(current);
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
      users++;
      try {
        const result = await work(client);
        failed = false;
        return result;
      } finally {
        users--;
        // Work that failed may have statements under way, BEGIN among them, so whether a transaction is open is not known
        // yet. A failed ROLLBACK closes the connection, and with it the transaction.
        if (failed || client.getTransactionStatus() !== 'I') await client.query('ROLLBACK').catch(drop);
      }
    },
    doubt() {
      if (users === 0) current?.drop();
      else current?.queries.doubt();
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
