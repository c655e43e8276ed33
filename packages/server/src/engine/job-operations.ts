// The operations on jobs, put together: what is read, and what goes through the ledger.
import { RefusedError } from '../core/refusal.ts';
import type { Pool } from '../store/pool.ts';
import type { JobOperations } from './engine.ts';
import { createJobQueries } from './job-queries.ts';
import type { HoldBacks } from './hold-backs.ts';
import type { Ledger } from './ledger.ts';
import type { Plans } from './plans.ts';
import type { Reruns } from './reruns.ts';

export interface JobOperationsOptions {
  readonly pool: Pool;
  readonly plans: Plans;
  readonly ledger: Ledger;
  readonly holdBacks: HoldBacks;
  readonly reruns: Reruns;
  readonly logs: Pick<JobOperations, 'readLog' | 'tailLog'>;
}

export function createJobOperations(options: JobOperationsOptions): JobOperations {
  const { pool, plans, ledger, holdBacks, reruns, logs } = options;
  const queries = createJobQueries({ pool, plans });
  return {
    ...queries,
    ...logs,
    async cancel(project, key, reason) {
      const { reply } = await ledger.submit(key.runId, { type: 'CancelJob', job: key.job, reason }, { project });
      if (reply.type === 'Refused') throw new RefusedError(reply.refusal);
      return await queries.get(project, key);
    },
    async hold(project, key, asker) {
      await holdBacks.submit(project, key.runId, { type: 'HoldJob', job: key.job, ...asker });
      return await queries.get(project, key);
    },
    async release(project, key, asker) {
      await holdBacks.submit(project, key.runId, { type: 'ReleaseJob', job: key.job, ...asker });
      return await queries.get(project, key);
    },
    async retry(project, key, trigger, requestId) {
      const job = await queries.get(project, key);
      if (job.state === 'WAITING') {
        await ledger.submit(key.runId, { type: 'ReleaseBackoff', job: key.job }, { project });
        return await queries.get(project, key);
      }
      return await queries.get(project, await reruns.rerunFrom(project, key, trigger, requestId));
    },
  };
}
