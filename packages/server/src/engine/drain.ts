// Drains driver instances: from the commit on no offer to them commits, whichever replica holds their sessions. What they hold goes on,
// or is taken away when the time for it has passed.
import { setTimeout as delay } from 'node:timers/promises';
import { holdsAnything, liveAttempts } from '../store/attempt-rows.ts';
import { driversByNumber } from '../store/driver-views.ts';
import { drainMatching } from '../store/instance-rows.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import type { DriverOperations } from './driver-operations.ts';
import type { Hints } from './hints.ts';
import type { Ledger } from './ledger.ts';
import { nobodyMatches } from './refusals.ts';
import type { Sessions } from './sessions.ts';
import { loseCommand } from './verdicts.ts';

const IDLE_POLL_MS = 250;
const MAX_SHOWN = 1_000;

export interface DrainOptions {
  readonly pool: Pool;
  readonly ledger: Ledger;
  readonly sessions: Sessions;
  readonly hints: Hints;
}

export function createDrain({ pool, ledger, sessions, hints }: DrainOptions): Pick<DriverOperations, 'drain'> {
  return {
    async drain({ name, instance, undo, waitMs = 0, evict }, signal) {
      const numbers = await withConnection(pool, (tx) => drainMatching(tx, name, instance, !undo));
      if (numbers.length === 0) throw nobodyMatches(name, instance);
      for (const number of numbers) hints.tell(`instance:${number}`);
      await sessions.compare(new Set(numbers));
      let idle = await idleWithin(numbers, waitMs, signal);
      const isOver = evict && !idle && !signal.aborted;
      const evicted = isOver ? await takeAway(numbers) : 0;
      if (isOver) idle = await holdNothing(numbers);
      const drivers = await withConnection(pool, (tx) => driversByNumber(tx, numbers, MAX_SHOWN));
      return { drivers, idle, evicted };
    },
  };

  async function idleWithin(numbers: readonly number[], waitMs: number, signal: AbortSignal): Promise<boolean> {
    const deadlineMs = performance.now() + waitMs;
    for (;;) {
      if (await holdNothing(numbers)) return true;
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0 || signal.aborted) return false;
      await delay(Math.min(IDLE_POLL_MS, leftMs), undefined, { signal }).catch(() => undefined);
    }
  }

  async function holdNothing(numbers: readonly number[]): Promise<boolean> {
    return !(await withConnection(pool, (tx) => holdsAnything(tx, numbers)));
  }

  /** In nobody's name: whichever session the instance has by then is told. */
  async function takeAway(numbers: readonly number[]): Promise<number> {
    const held = await withConnection(pool, (tx) => liveAttempts(tx, numbers));
    const message = 'its driver was drained and did not end it in time';
    const answers = await Promise.all(
      held.map((row) => ledger.submit(row.key.runId, loseCommand(row.key, row, 'INFRASTRUCTURE', message))),
    );
    return answers.filter(({ reply }) => reply.type === 'Done').length;
  }
}
