// What retention reads to find runs that are kept no longer: the runs of all projects in order, page by page, and how far back the
// newest ones of a project reach. Run ids begin with their time, so their order is that of creation.
import type { RunId } from '../core/ids.ts';
import { rowsOf, statement, type Tx } from './sql.ts';

/** A place in the order of all runs. */
export interface RunPlace {
  readonly project: string;
  readonly runId: RunId;
}

export interface KeptRun extends RunPlace {
  /** Undefined: it goes on. */
  readonly finishedMs: number | undefined;
}

const RUNS_BEHIND = statement(
  'runs_behind',
  `select project, run_id, finished_ms from runs where (project, run_id) > ($1, $2) order by project, run_id limit $3`,
);

/** The next runs by project and id. */
export async function runsBehind(tx: Tx, place: RunPlace, limit: number): Promise<KeptRun[]> {
  const rows = await rowsOf<{ project: string; run_id: RunId; finished_ms: number | null }>(tx, RUNS_BEHIND, [
    place.project,
    place.runId,
    limit,
  ]);
  return rows.map((row) => ({
    project: row.project,
    runId: row.run_id,
    finishedMs: row.finished_ms ?? undefined,
  }));
}

const RUN_BACK = statement(
  'run_back',
  'select run_id from runs where project = $1 and run_id < $2 order by run_id desc offset $3 limit 1',
);

const STEP = 10_000;
const NEWEST = 'ffffffff-ffff-ffff-ffff-ffffffffffff' as RunId;

/**
 * The newest run that has `count` newer ones in its project; undefined when there are not so many. It is looked for in steps, so
 * that no statement walks far.
 */
export async function runBehindNewest(tx: Tx, project: string, count: number): Promise<RunId | undefined> {
  let from: RunId | undefined = NEWEST;
  for (let left = count; from !== undefined; left -= STEP) {
    const step = Math.min(left, STEP - 1);
    const rows: { run_id: RunId }[] = await rowsOf(tx, RUN_BACK, [project, from, step]);
    from = rows[0]?.run_id;
    if (left < STEP) return from;
  }
  return undefined;
}
