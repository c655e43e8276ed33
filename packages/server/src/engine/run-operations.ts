// The operations on runs, put together: what is read, and what goes through the ledger.
import { RefusedError } from '../core/refusal.ts';
import type { RunOperations } from './engine.ts';
import type { Ledger } from './ledger.ts';
import type { Reruns } from './reruns.ts';
import type { RunCreation } from './run-creation.ts';

export interface RunOperationsOptions {
  readonly queries: Pick<RunOperations, 'get' | 'list'>;
  readonly watch: Pick<RunOperations, 'watch'>;
  readonly feed: Pick<RunOperations, 'watchAll'>;
  readonly creation: RunCreation;
  readonly reruns: Reruns;
  readonly ledger: Ledger;
}

export function createRunOperations(options: RunOperationsOptions): RunOperations {
  const { queries, watch, feed, creation, reruns, ledger } = options;
  return {
    ...queries,
    ...watch,
    ...feed,
    async create(project, run) {
      const { runId, view } = await creation.create(project, run);
      return view ?? (await queries.get(project, runId));
    },
    createBatch: (project, runs) => creation.createBatch(project, runs),
    async cancel(project, runId, reason, force) {
      const { reply } = await ledger.submit(runId, { type: 'CancelRun', reason, force }, { project });
      if (reply.type === 'Refused') throw new RefusedError(reply.refusal);
      return await queries.get(project, runId);
    },
    rerun: async (project, runId, scope, trigger, requestId) =>
      await queries.get(project, await reruns.rerun(project, runId, scope, trigger, requestId)),
  };
}
