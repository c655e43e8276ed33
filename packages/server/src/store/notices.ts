// NOTIFY between replicas. It takes a lock of the whole cluster at commit, so it carries hints only, outside of hot transactions.
import type { ClientBase, Notification } from 'pg';
import type { Lane } from './lane.ts';
import type { Pools } from './connect.ts';
import type { Tx } from './sql.ts';

/** Largest payload of one notice, in bytes. */
export const MAX_NOTICE_BYTES = 7_900;

/** @param channel A name that needs no quotes. */
export async function sendNotice(tx: Tx, channel: string, payload: string): Promise<void> {
  await tx.query('select pg_notify($1, $2)', [channel, payload]);
}

/** Hears notices on a connection of its own; `onListening` is called whenever it begins to, as what came before is unknown. */
export function listen(
  pools: Pools,
  channel: string,
  onNotice: (payload: string) => void,
  onListening: () => void,
): Lane {
  return pools.openLane('listen', {
    async prepare(client: ClientBase) {
      client.on('notification', (notice: Notification) => onNotice(notice.payload ?? ''));
      await client.query(`listen ${channel}`);
      onListening();
    },
  });
}
