// The operations on runs, put together: what is read, and what goes through the ledger.
import type { RunId } from '../core/ids.ts';
import { RefusedError } from '../core/refusal.ts';
import type { RunView } from '../core/views.ts';
import type { RunOperations } from './engine.ts';
import type { HoldBacks } from './hold-backs.ts';
import type { Ledger } from './ledger.ts';
import type { Reruns } from './reruns.ts';
import type { RunCreation } from './run-creation.ts';

export interface RunOperationsOptions {
  readonly queries: Pick<RunOperations, 'get' | 'list'>;
  readonly history: Pick<RunOperations, 'getAt' | 'diff'>;
  readonly watch: Pick<RunOperations, 'watch'>;
  readonly feed: Pick<RunOperations, 'watchAll'>;
  readonly deletion: Pick<RunOperations, 'delete'>;
  readonly verification: Pick<RunOperations, 'verify'>;
  readonly planning: Pick<RunOperations, 'plan'>;
  readonly artifacts: Pick<RunOperations, 'artifacts'>;
  readonly creation: RunCreation;
  readonly reruns: Reruns;
  readonly ledger: Ledger;
  readonly holdBacks: HoldBacks;
}

export function createRunOperations(options: RunOperationsOptions): RunOperations {
  const {
    queries,
    history,
    watch,
    feed,
    deletion,
    verification,
    planning,
    artifacts,
    creation,
    reruns,
    ledger,
    holdBacks,
  } = options;

  /** The run that a request made, perhaps long ago. */
  async function readMade(project: string, runId: RunId): Promise<RunView> {
    try {
      return await queries.get(project, runId);
    } catch (error) {
      if (!(error instanceof RefusedError) || error.refusal.refused !== 'RUN_NOT_FOUND') throw error;
      const message = `run ${runId}, which this request has made, was deleted: take a new request_id to run it again`;
      throw new RefusedError({ refused: 'RUN_NOT_FOUND', message });
    }
  }

  return {
    ...queries,
    ...history,
    ...watch,
    ...feed,
    ...deletion,
    ...verification,
    ...planning,
    ...artifacts,
    async create(project, run) {
      const { runId, view, warnings } = await creation.create(project, run);
      return { ...(view ?? (await readMade(project, runId))), warnings };
    },
    createBatch: (project, runs) => creation.createBatch(project, runs),
    async cancel(project, runId, reason, force) {
      const { reply } = await ledger.submit(runId, { type: 'CancelRun', reason, force }, { project });
      if (reply.type === 'Refused') throw new RefusedError(reply.refusal);
      return await queries.get(project, runId);
    },
    async pause(project, runId, asker) {
      await holdBacks.submit(project, runId, { type: 'PauseRun', ...asker });
      return await queries.get(project, runId);
    },
    async resume(project, runId, asker) {
      await holdBacks.submit(project, runId, { type: 'ResumeRun', ...asker });
      return await queries.get(project, runId);
    },
    rerun: async (project, runId, scope, trigger, requestId) =>
      await readMade(project, await reruns.rerun(project, runId, scope, trigger, requestId)),
  };
}
