// What time alone changes: backoffs that end, timeouts, the phases of a stop. Any replica may fire any timer: the decision looks at
// the state and the clock again, so one that fires twice or late does no harm.
import type { Command } from '../core/commands.ts';
import { dueJobs } from '../store/due-jobs.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import type { Ledger } from './ledger.ts';
import type { Log } from './log.ts';
import { createRing } from './ring.ts';
import { createUnderWay } from './under-way.ts';

const MAX_BATCH = 500;
/** How late a timer is noticed that another replica set. */
const POLL_MS = 500;
const SHORTEST_MS = 10;
/** Whose timers are under way, of all and of one project: decisions that take long are made one after the other. */
const MAX_RUNS = 1_000;
const MAX_OF_PROJECT = 250;
/** How soon those are looked at again that were left for it. */
const LEFT_MS = 50;
/** Timers of one run that are decided on at once. */
const MAX_OF_RUN = 100;

export interface Timers {
  /** A timer was set; of the database's clock. */
  set(dueMs: number): void;
  run(signal: AbortSignal): Promise<void>;
}

export interface TimersOptions {
  readonly pool: Pool;
  readonly ledger: Pick<Ledger, 'submit'>;
  /** The newest version of events that every live replica knows. */
  readonly eventVersion: () => number;
  readonly log: Log;
}

export function createTimers({ pool, ledger, eventVersion, log }: TimersOptions): Timers {
  let nextMs = Number.POSITIVE_INFINITY;
  let clockAheadMs = 0;
  const bell = createRing();
  const underWay = createUnderWay({
    maxKeys: MAX_RUNS,
    maxOfOwner: MAX_OF_PROJECT,
    maxParts: MAX_OF_RUN,
    failed: 'timers could not be fired, trying again',
    log,
  });

  /** Fires what is due. Returns how long nothing will be. */
  async function fire(signal: AbortSignal): Promise<number> {
    nextMs = Number.POSITIVE_INFINITY;
    let isLeft = false;
    for (let fromMs = 0; !signal.aborted; ) {
      const { nowMs, due, laterMs } = await withConnection(pool, (tx) => dueJobs(tx, MAX_BATCH, fromMs));
      clockAheadMs = nowMs - Date.now();
      const fresh = due.filter(({ runId, job }) => !underWay.has(runId, job));
      const leftSome = await underWay.begin(
        fresh.map(({ runId, job, project }) => ({
          key: runId,
          part: job,
          owner: project,
          work: () => ledger.submit(runId, timerOf(job)),
        })),
      );
      isLeft ||= leftSome;
      const last = due[MAX_BATCH - 1];
      if (last === undefined) {
        if (isLeft) return LEFT_MS;
        const nearest = Math.min(nextMs, laterMs ?? Number.POSITIVE_INFINITY);
        return Math.min(POLL_MS, Math.max(SHORTEST_MS, nearest - Date.now() - clockAheadMs));
      }
      // Not from the first one on again: those that stay due must not keep all others waiting.
      fromMs = Math.max(last.dueMs, fromMs + 1);
    }
    return 0;
  }

  function timerOf(job: number): Command {
    return { type: 'Timer', job, eventVersion: eventVersion(), random: Math.random(), content: undefined };
  }

  return {
    set(dueMs) {
      if (dueMs >= nextMs) return;
      nextMs = dueMs;
      bell.ring();
    },
    async run(signal) {
      let failing = false;
      let waitMs = 0;
      while (!signal.aborted) {
        await bell.wait(waitMs, signal);
        const leftMs = nextMs - Date.now() - clockAheadMs;
        if (signal.aborted) break;
        if (leftMs > SHORTEST_MS && leftMs < waitMs) {
          waitMs = leftMs;
          continue;
        }
        try {
          waitMs = await fire(signal);
          failing = false;
        } catch (error) {
          if (!failing) log.warn({ err: error }, 'timers could not be read, trying again');
          failing = true;
          waitMs = POLL_MS;
        }
      }
      await underWay.settled();
    },
  };
}
