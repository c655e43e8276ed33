// Pausing and resuming the queue of a driver name. The pauses are in the database, where every claim of every replica looks.
import { LIMITS } from '../core/limits.ts';
import { RefusedError } from '../core/refusal.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import { listQueues, pauseQueue, resumeQueue } from '../store/queue-pauses.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { DriverOperations } from './driver-operations.ts';
import type { Hints } from './hints.ts';
import type { WakeUps } from './wake-ups.ts';

/** Jobs of one queue that are counted; more are as many as that. */
const MAX_COUNTED = 100_000;

export interface QueuePausesOptions {
  readonly pool: Pool;
  readonly dispatcher: Pick<Dispatcher, 'wake'>;
  readonly hints: Pick<Hints, 'tell'>;
  readonly wakeUps: Pick<WakeUps, 'ring'>;
}

export function createQueuePauses({
  pool,
  dispatcher,
  hints,
  wakeUps,
}: QueuePausesOptions): Pick<DriverOperations, 'pauseQueue' | 'resumeQueue' | 'listQueues'> {
  function changed(driver: string): void {
    dispatcher.wake(driver);
    wakeUps.ring('queues');
    hints.tell(`queue:${driver}`);
  }

  return {
    async pauseQueue(pause) {
      const paused = await withConnection(pool, (tx) => pauseQueue(tx, pause, LIMITS.queuePauses));
      if (paused === undefined) throw tooMany();
      changed(pause.driver);
      return paused;
    },
    async resumeQueue(name) {
      const resumed = await withConnection(pool, (tx) => resumeQueue(tx, name));
      changed(name.driver);
      return resumed;
    },
    async listQueues({ size, after = '' }) {
      const queues = await withConnection(pool, (tx) => listQueues(tx, after, size + 1, MAX_COUNTED));
      const items = queues.slice(0, size);
      const last = items.at(-1);
      return { items, ...(queues.length > size && last !== undefined && { next: last.driver }) };
    },
  };
}

function tooMany(): RefusedError {
  const max = LIMITS.queuePauses;
  const message = `${max} queues are paused already: resume some, or pause a driver as a whole`;
  return new RefusedError({
    refused: 'LIMIT_REACHED',
    message,
    metadata: { limit: 'queue_pauses', max: String(max) },
  });
}
