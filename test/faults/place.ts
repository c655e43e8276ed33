// One replica as clients, drivers and its database see it: at addresses that stay, whatever becomes of its process, and by ways that
// can be broken.
import type { Client } from '@conveyor/client';
import { createNodeClient } from '@conveyor/client/node';
import { type PostgresProxy, startPostgresProxy } from '../../packages/server/src/store/testing/postgres-proxy.ts';
import { type Proxy, startProxy } from '../../packages/server/src/store/testing/proxy.ts';
import type { Replica, ReplicaOptions, System } from '../e2e/system.ts';

/** How long a call may take before what it did is unknown. */
const CALL_MS = 4_000;

export interface Place extends AsyncDisposable {
  readonly name: string;
  /** The way from clients and drivers to the replica. */
  readonly door: Proxy;
  /** The way from the replica to its database. */
  readonly database: PostgresProxy;
  /** Goes through the door. Repeats nothing by itself. */
  readonly client: Client;
  /** The process that is there now. */
  server(): Replica;
  /** Starts another process; from then on new connections lead to it. The one before goes on. */
  start(options?: ReplicaOptions): Promise<Replica>;
}

/**
 * Starts a replica behind ways of its own.
 * @param always How every process there is started.
 * @param first What is special about the first one.
 */
export async function openPlace(
  name: string,
  system: System,
  always: ReplicaOptions,
  first: ReplicaOptions,
): Promise<Place> {
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await startPostgresProxy(system.database.connection));
  const launch = (options: ReplicaOptions = {}): Promise<Replica> =>
    system.startReplica({ databaseUrl: database.url, ...always, ...options });
  let server = await launch(first);
  const door = stack.use(await startProxy(targetOf(server)));
  const token = await system.token('operator');
  const client = createNodeClient({ address: door.address, token, timeoutMs: CALL_MS, retries: 0 });
  const moved = stack.move();
  return {
    name,
    door,
    database,
    client,
    server: () => server,
    async start(options) {
      server = await launch(options);
      door.lead(targetOf(server));
      return server;
    },
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

function targetOf({ ready }: Replica): { readonly host: string; readonly port: number } {
  const [host = '', port = ''] = ready.grpcAddress.split(':');
  return { host, port: Number(port) };
}
