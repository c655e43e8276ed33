// Deletes finished runs that are kept no longer, by age and by count. Each replica walks all runs in order, a bounded stretch a pass,
// and goes on where it was; two that meet skip what the other holds. Nothing depends on who does it, or how far it came.
import { makeRunId, type RunId } from '../core/ids.ts';
import type { Retention } from '../core/retention.ts';
import { readClock } from '../store/ledger-rows.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import { type KeptRun, runBehindNewest, type RunPlace, runsBehind } from '../store/retention-rows.ts';
import type { RunDeletion } from './run-deletion.ts';

const RUNS_A_PAGE = 500;
const PAGES_A_PASS = 20;
const FIRST_ID = '00000000-0000-0000-0000-000000000000' as RunId;
const LAST_ID = 'ffffffff-ffff-ffff-ffff-ffffffffffff' as RunId;
const START: RunPlace = { project: '', runId: FIRST_ID };

export interface RunRetention {
  /** One pass. True: there is more to look at. */
  deleteExpired(): Promise<boolean>;
}

export interface RunRetentionOptions {
  readonly pool: Pool;
  readonly retention: Pick<Retention, 'maxAgeMs' | 'maxRuns'>;
  readonly deletion: Pick<RunDeletion, 'deleteFinished'>;
}

/** The runs of a project that may have to go: those up to either id. */
interface Bounds {
  readonly project: string;
  /** Behind so many newer ones; undefined: none is. */
  readonly surplus: RunId | undefined;
  /** Begun before those that finished last in time to go; undefined: age does not matter. */
  readonly aged: RunId | undefined;
}

export function createRunRetention({ pool, retention, deletion }: RunRetentionOptions): RunRetention {
  const { maxAgeMs, maxRuns } = retention;
  let place = START;
  let bounds: Bounds | undefined;

  async function boundsOf(project: string, nowMs: number): Promise<Bounds> {
    return {
      project,
      surplus:
        maxRuns === undefined ? undefined : await withConnection(pool, (tx) => runBehindNewest(tx, project, maxRuns)),
      aged: maxAgeMs === undefined ? undefined : makeRunId(Math.max(0, nowMs - maxAgeMs), new Uint8Array(10)),
    };
  }

  function isExpired(run: KeptRun, { surplus, aged }: Bounds, nowMs: number): boolean {
    if (run.finishedMs === undefined) return false;
    if (surplus !== undefined && run.runId <= surplus) return true;
    return aged !== undefined && maxAgeMs !== undefined && run.finishedMs < nowMs - maxAgeMs;
  }

  /** Looks at one page. False: it was the last. */
  async function lookFurther(): Promise<boolean> {
    const { page, nowMs } = await withConnection(pool, async (tx) => ({
      nowMs: await readClock(tx),
      page: await runsBehind(tx, place, RUNS_A_PAGE),
    }));
    const expired: RunId[] = [];
    for (const run of page) {
      if (bounds?.project !== run.project) bounds = await boundsOf(run.project, nowMs);
      place = run;
      const { surplus = FIRST_ID, aged = FIRST_ID } = bounds;
      if (run.runId > surplus && run.runId > aged) {
        // So are all that follow of this project.
        place = { project: run.project, runId: LAST_ID };
        break;
      }
      if (isExpired(run, bounds, nowMs)) expired.push(run.runId);
    }
    if (expired.length > 0) await deletion.deleteFinished(expired);
    if (page.length > 0) return true;
    place = START;
    bounds = undefined;
    return false;
  }

  return {
    async deleteExpired() {
      if (maxAgeMs === undefined && maxRuns === undefined) return false;
      for (let page = 0; page < PAGES_A_PASS; page++) if (!(await lookFurther())) return false;
      return true;
    },
  };
}
