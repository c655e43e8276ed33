// The operations on jobs, put together: what is read, and what goes through the ledger.
import type { Trigger } from '../core/events.ts';
import type { JobKey } from '../core/ids.ts';
import type { Found } from '../core/check-fields.ts';
import type { JobDefinition } from '../core/definition.ts';
import { partAnswers } from '../core/gate-form.ts';
import type { JsonObject } from '../core/json.ts';
import { compileSchema } from '../core/json-schema.ts';
import { invalidFields, RefusedError } from '../core/refusal.ts';
import type { Pool } from '../store/pool.ts';
import { checkBounded } from './bounded-check.ts';
import type { GateReply, JobOperations } from './engine.ts';
import { createJobQueries } from './job-queries.ts';
import type { HoldBacks } from './hold-backs.ts';
import type { Ledger } from './ledger.ts';
import { inTurns } from './pace.ts';
import type { Plans } from './plans.ts';
import { bodyDigest, takeRequestId } from './request-ids.ts';
import { type Reruns, retryOf } from './reruns.ts';

export interface JobOperationsOptions {
  readonly pool: Pool;
  readonly plans: Plans;
  readonly ledger: Ledger;
  readonly holdBacks: HoldBacks;
  readonly reruns: Reruns;
  readonly history: Pick<JobOperations, 'getAt' | 'listAt' | 'listAttemptsAt'>;
  readonly logs: Pick<JobOperations, 'readLog' | 'tailLog'>;
}

export function createJobOperations(options: JobOperationsOptions): JobOperations {
  const { pool, plans, ledger, holdBacks, reruns, history, logs } = options;
  const queries = createJobQueries({ pool, plans });

  /** Whether the release of a backoff is no repetition: that must not release the backoff of a later attempt. */
  async function isNew(
    project: string,
    key: JobKey,
    trigger: Trigger,
    requestId: string | undefined,
  ): Promise<boolean> {
    if (requestId === undefined) return true;
    const asked = { project, requestId, bodyDigest: await inTurns(bodyDigest('rerun', retryOf(key, trigger))) };
    return await takeRequestId(pool, asked, key.runId);
  }

  return {
    ...queries,
    ...history,
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
    async answerGate(project, key, answer) {
      const { definition } = await queries.get(project, key);
      const command = { type: 'AnswerGate', job: key.job, ...answer, ...checkForm(definition, answer) } as const;
      const { reply } = await ledger.submit(key.runId, command, { project });
      if (reply.type === 'Refused') throw new RefusedError(reply.refusal);
      return await queries.get(project, key);
    },
    async retry(project, key, trigger, requestId) {
      const job = await queries.get(project, key).catch(unlessGone);
      if (job?.state !== 'WAITING') {
        return await queries.get(project, await reruns.rerunFrom(project, key, trigger, requestId));
      }
      if (await isNew(project, key, trigger, requestId)) {
        await ledger.submit(key.runId, { type: 'ReleaseBackoff', job: key.job }, { project });
      }
      return await queries.get(project, key);
    },
  };
}

/** An approval fills in the form of its gate. @returns The answers, and the form's defaults for the rest. @throws RefusedError INVALID_FIELD */
function checkForm(
  definition: JobDefinition | undefined,
  { verdict, answers }: GateReply,
): { readonly answers: JsonObject; readonly defaults?: JsonObject } {
  const formSchema = definition?.gate?.formSchema;
  if (formSchema === undefined || verdict === 'REJECT') return { answers };
  const found: Found = [];
  const form = compileSchema(found, 'form_schema', formSchema);
  const filledIn = form === undefined ? answers : checkBounded(form, found, 'answers', answers);
  if (found.length > 0) throw new RefusedError(invalidFields(found));
  return partAnswers(answers, filledIn);
}

/** A job that is gone may have been retried before: then its request id knows. */
function unlessGone(error: unknown): undefined {
  if (error instanceof RefusedError && error.refusal.refused === 'JOB_NOT_FOUND') return undefined;
  throw error;
}
