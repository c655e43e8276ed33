// Deleting runs: a caller names one, retention finds many. Whoever watches or lists runs here is told after the commit.
import type { RunId } from '../core/ids.ts';
import { isRunFinished } from '../core/states.ts';
import { deleteFinishedRuns, lockRunToDelete } from '../store/deleted-runs.ts';
import { type Pool, withTransaction } from '../store/pool.ts';
import type { RunOperations } from './engine.ts';
import { noSuchRun, notFinished } from './refusals.ts';

export interface RunDeletion extends Pick<RunOperations, 'delete'> {
  /** Deletes those of these runs that have finished and that nobody else deletes. Returns how many. */
  deleteFinished(runIds: readonly RunId[]): Promise<number>;
}

export interface RunDeletionOptions {
  readonly pool: Pool;
  /** Hears of deleted runs, after the commit. */
  readonly onDeleted: (runIds: readonly RunId[]) => void;
}

export function createRunDeletion({ pool, onDeleted }: RunDeletionOptions): RunDeletion {
  return {
    async delete(project, runId) {
      await withTransaction(pool, async (tx) => {
        const run = await lockRunToDelete(tx, runId);
        if (run === undefined || run.project !== project) throw noSuchRun(runId);
        if (!isRunFinished(run.state)) throw notFinished(runId, run.state);
        await deleteFinishedRuns(tx, [runId]);
      });
      onDeleted([runId]);
    },
    async deleteFinished(runIds) {
      const deleted = await withTransaction(pool, (tx) => deleteFinishedRuns(tx, runIds));
      if (deleted.length > 0) onDeleted(deleted);
      return deleted.length;
    },
  };
}
