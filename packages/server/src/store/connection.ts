// What any one connection to PostgreSQL is held to: that it leads to a server that takes writes, that it is left when it leads nowhere,
// and that closing it ends.
import type { Client, ClientBase } from 'pg';
import { DatabaseAway, isConnectionUseless } from './outage.ts';

/** How long an orderly goodbye may take; a server that is out of reach never answers it. */
const goodbyeMs = 1_000;
/** How much longer a query is waited for once another connection has shown that the server may be silent. */
const doubtMs = 1_500;

export interface QueryWatch {
  /** Another connection leads nowhere: cuts this one off, unless what it waits for is answered soon. */
  doubt(): void;
}

/** Watches the queries of a connection; `onUseless` is called as soon as one shows that it is useless, before who asked learns of it. */
export function watchQueries(client: Client, onUseless: (error: unknown) => void): QueryWatch {
  // A reply that comes after its query was given up would be taken for the reply to the next query. This handler is
  // added before the caller's, so a pool cannot lend the connection again in between.
  const send = client.query.bind(client) as (...input: unknown[]) => unknown;
  let answers = 0;
  let waiting = 0;
  const watched = (...input: unknown[]): unknown => {
    const reply = send(...input);
    if (reply instanceof Promise) {
      waiting++;
      reply.then(
        () => {
          waiting--;
          answers++;
        },
        (error: unknown) => {
          waiting--;
          answers++;
          if (!failures.has(client)) failures.set(client, error);
          if (isConnectionUseless(error)) onUseless(error);
        },
      );
    }
    return reply;
  };
  client.query = watched as ClientBase['query'];
  return {
    doubt() {
      const before = answers;
      const timer = setTimeout(() => {
        if (waiting > 0 && answers === before) cutOff(client);
      }, doubtMs);
      timer.unref();
    },
  };
}

/** What first failed on each connection since its failures were forgotten. */
const failures = new WeakMap<ClientBase, unknown>();

export function forgetFailures(client: ClientBase): void {
  failures.delete(client);
}

/** Why statements fail that were sent together with the one that failed first: they say only that the transaction is aborted. */
export function firstFailure(client: ClientBase): unknown {
  return failures.get(client);
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
