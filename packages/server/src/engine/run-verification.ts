// Comparing a run with its ledger, as of one moment. Each comparison holds a connection and a snapshot for as long as it reads, so few
// run at a time.
import { RefusedError } from '../core/refusal.ts';
import { type Pool, withSnapshot } from '../store/pool.ts';
import { findRun } from '../store/run-views.ts';
import { verifyRun } from '../store/verify-run.ts';
import type { RunOperations } from './engine.ts';
import { noSuchRun } from './refusals.ts';

const MAX_AT_A_TIME = 2;

export function createRunVerification(pool: Pool): Pick<RunOperations, 'verify'> {
  let open = 0;
  return {
    async verify(project, runId, skipLogs, signal) {
      if (open >= MAX_AT_A_TIME) {
        throw new RefusedError({
          refused: 'LIMIT_REACHED',
          message: `${MAX_AT_A_TIME} runs are being verified at this replica already: try again later`,
          metadata: { limit: 'verifications', max: String(MAX_AT_A_TIME) },
        });
      }
      open++;
      try {
        return await withSnapshot(pool, async (tx) => {
          const run = await findRun(tx, project, runId);
          const verification = run && (await verifyRun(tx, runId, { skipLogs, signal }));
          if (verification === undefined) throw noSuchRun(runId);
          return verification;
        });
      } finally {
        open--;
      }
    },
  };
}
