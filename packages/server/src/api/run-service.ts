// RunService: runs are created, read, compared, watched, cancelled and repeated.
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { ErrorReason } from '@conveyor/protocol/conveyor/v1/error_pb.js';
import {
  type BatchCreateRunsItem,
  type BatchCreateRunsResultSchema,
  type RerunRunRequest,
  RerunScope,
  type RunService,
} from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { addViolation, ANY_JOB_NAME, checkCount, checkName, type Found } from '../core/check-fields.ts';
import { createCheckWork } from '../core/check-work.ts';
import type { RunId } from '../core/ids.ts';
import { LIMITS } from '../core/limits.ts';
import { invalidFields, isRefusal, type Refusal } from '../core/refusal.ts';
import type { Engine, NewRun, RerunSource } from '../engine/engine.ts';
import { inTurns } from '../engine/pace.ts';
import { codeOf } from './call-error.ts';
import { decodeAssumed } from './decode-assumed.ts';
import { decodeRunFilter, decodeRunSpec } from './decode-run.ts';
import { encodeRunArtifact } from './artifact-codec.ts';
import { encodeEvent } from './encode-event.ts';
import { encodeRun, encodeRunHeader, encodeWholeRun } from './encode-run.ts';
import { encodeRunPlan } from './encode-run-plan.ts';
import { encodeRunDiff } from './encode-run-diff.ts';
import { encodeWarnings } from './encode-warnings.ts';
import { encodeVerification } from './encode-verification.ts';
import { decodePageToken, encodePageToken } from './page-token.ts';
import {
  decodeAsker,
  decodeCount,
  decodeInTurns,
  decodePage,
  decodeProject,
  decodeReason,
  decodeRequest,
  decodeRequestId,
  decodeRunId,
  decodeSeq,
  decodeTraceparent,
  decodeTrigger,
} from './request-fields.ts';

const MAX_FROM_JOBS = 100;

export function createRunService({ runs }: Engine): ServiceImpl<typeof RunService> {
  return {
    async createRun({ project, run, requestId }, { requestHeader }) {
      const owner = decodeProject(project);
      const newRun = await decodeInTurns(function* (found, work) {
        const spec = yield* decodeRunSpec(found, 'run', run, work);
        return { ...spec, ...decodeRequestId(found, requestId), ...decodeTraceparent(requestHeader) };
      });
      const created = await runs.create(owner, newRun);
      return { run: encodeRun(created), ...encodeWarnings(created.warnings) };
    },

    async batchCreateRuns({ project, items }, { requestHeader }) {
      const owner = decodeProject(project);
      decodeRequest((found) => {
        if (items.length === 0) addViolation(found, 'items', `is required: 1 to ${LIMITS.batchItems} items`);
        checkCount(found, 'items', items.length, LIMITS.batchItems);
      });
      const traced = decodeTraceparent(requestHeader);
      const decoded = await inTurns(decodeItems(items, traced));
      const sound = decoded.filter((item): item is NewRun => !isRefusal(item));
      const created = (await runs.createBatch(owner, sound)).values();
      const outcomes = decoded.map((item) => (isRefusal(item) ? item : created.next().value));
      return { results: items.map(({ requestId }, index) => encodeResult(requestId, outcomes[index])) };
    },

    async getRun(request, { signal }) {
      const project = decodeProject(request.project);
      const runId = decodeRunId('run_id', request.runId);
      const atSeq = decodeRequest((found) => decodeSeq(found, 'at_seq', request.atSeq));
      const run = await (atSeq === undefined ? runs.get(project, runId) : runs.getAt(project, runId, atSeq, signal));
      return { run: encodeWholeRun(run) };
    },

    async listRuns(request) {
      const project = decodeProject(request.project);
      const { filter, page, list } = decodeRequest((found) => {
        const filter = decodeRunFilter(found, request.filter);
        const list = ['ListRuns', project, filter];
        return { filter, list, page: decodePage(found, request, { request: list }) };
      });
      const { items, next } = await runs.list(project, filter, page);
      return { runs: items.map(encodeRunHeader), nextPageToken: encodePageToken(next, list) };
    },

    async cancelRun({ project, runId, reason, force }) {
      const owner = decodeProject(project);
      const id = decodeRunId('run_id', runId);
      const why = decodeRequest((found) => decodeReason(found, reason));
      return { run: encodeRun(await runs.cancel(owner, id, why, force)) };
    },

    async pauseRun(request) {
      const project = decodeProject(request.project);
      const runId = decodeRunId('run_id', request.runId);
      const asker = decodeRequest((found) => decodeAsker(found, request));
      return { run: encodeRun(await runs.pause(project, runId, asker)) };
    },

    async resumeRun(request) {
      const project = decodeProject(request.project);
      const runId = decodeRunId('run_id', request.runId);
      const asker = decodeRequest((found) => decodeAsker(found, request));
      return { run: encodeRun(await runs.resume(project, runId, asker)) };
    },

    async rerunRun(request) {
      const project = decodeProject(request.project);
      const runId = decodeRunId('run_id', request.runId);
      const { scope, trigger, requestId } = decodeRequest((found) => ({
        scope: decodeScope(found, request),
        trigger: decodeTrigger(found, 'trigger', request.trigger),
        ...decodeRequestId(found, request.requestId),
      }));
      return { run: encodeRun(await runs.rerun(project, runId, scope, trigger, requestId)) };
    },

    async deleteRun({ project, runId }) {
      await runs.delete(decodeProject(project), decodeRunId('run_id', runId));
      return {};
    },

    async verifyRun({ project, runId, skipLogs }, { signal }) {
      const owner = decodeProject(project);
      return encodeVerification(await runs.verify(owner, decodeRunId('run_id', runId), skipLogs, signal));
    },

    async diffRun(request, { signal }) {
      const project = decodeProject(request.project);
      const runId = decodeRunId('run_id', request.runId);
      const { fromSeq, toSeq, page, list } = decodeRequest((found) => {
        const fromSeq = decodeSeq(found, 'from_seq', request.fromSeq) ?? 0;
        if (fromSeq === 0) addViolation(found, 'from_seq', 'is required: from 1 to `to_seq`');
        const toSeq = decodeSeq(found, 'to_seq', request.toSeq);
        const list = ['DiffRun', project, runId, fromSeq, toSeq];
        return { fromSeq, toSeq, list, page: decodePage(found, request, { request: list }) };
      });
      const diff = await runs.diff(project, runId, fromSeq, toSeq, page, signal);
      return { ...encodeRunDiff(diff), nextPageToken: encodePageToken(diff.jobs.next, list) };
    },

    async planRun({ project, run, assumed }, { signal }) {
      const owner = decodeProject(project);
      const decoded = await decodeInTurns(function* (found, work) {
        const spec = yield* decodeRunSpec(found, 'run', run, work);
        return { run: spec, assumed: decodeAssumed(found, 'assumed', assumed) };
      });
      return await encodeRunPlan(await runs.plan(owner, decoded.run, decoded.assumed, signal));
    },

    async listRunArtifacts(request) {
      const project = decodeProject(request.project);
      const runId = decodeRunId('run_id', request.runId);
      const job = request.job === '' ? undefined : request.job;
      const list = ['ListRunArtifacts', project, runId, job];
      const page = decodeRequest((found) => {
        if (job !== undefined) checkName(found, 'job', job, ANY_JOB_NAME);
        return decodePage(found, request, { request: list });
      });
      const { items, next } = await runs.artifacts(project, runId, job, page);
      return { artifacts: items.map(encodeRunArtifact), nextPageToken: encodePageToken(next, list) };
    },

    async *watchRun(request, { signal }) {
      const project = decodeProject(request.project);
      const runId = decodeRunId('run_id', request.runId);
      const afterSeq = decodeRequest((found) => decodeCount(found, 'after_seq', request.afterSeq));
      for await (const events of runs.watch(project, runId, afterSeq, signal)) {
        yield { events: events.map(encodeEvent) };
      }
    },

    async *watchRuns(request, { signal }) {
      const project = decodeProject(request.project);
      const filter = decodeRequest((found) => decodeRunFilter(found, request.filter));
      const watch = ['WatchRuns', project, filter];
      const from = decodePageToken('cursor', request.cursor, watch);
      for await (const { changes, cursor, snapshotComplete } of runs.watchAll(project, filter, from, signal)) {
        yield {
          changes: changes.map(({ run, left }) => ({ run: encodeRunHeader(run), left })),
          cursor: encodePageToken(cursor, watch),
          snapshotComplete,
        };
      }
    },
  };
}

/** All of them may take as much as one request. */
function* decodeItems(
  items: readonly BatchCreateRunsItem[],
  traced: { readonly traceparent?: string },
): Generator<undefined, readonly (NewRun | Refusal)[]> {
  const work = createCheckWork();
  const decoded: (NewRun | Refusal)[] = [];
  for (const { run, requestId } of items) {
    const found: Found = [];
    const spec = yield* decodeRunSpec(found, 'run', run, work);
    const item = { ...spec, ...decodeRequestId(found, requestId), ...traced };
    decoded.push(found.length === 0 ? item : invalidFields(found));
  }
  return decoded;
}

function encodeResult(
  requestId: string,
  outcome: RunId | Refusal | undefined,
): MessageInitShape<typeof BatchCreateRunsResultSchema> {
  if (outcome === undefined) throw new Error('the engine answered fewer items than it was given');
  if (!isRefusal(outcome)) return { requestId, outcome: { case: 'runId', value: outcome } };
  const { refused, message } = outcome;
  return {
    requestId,
    outcome: { case: 'error', value: { code: codeOf(refused), reason: ErrorReason[refused], message } },
  };
}

function decodeScope(found: Found, { scope, fromJobs }: Pick<RerunRunRequest, 'scope' | 'fromJobs'>): RerunSource {
  if (scope !== RerunScope.FROM && fromJobs.length > 0)
    addViolation(found, 'from_jobs', 'must be empty unless scope is FROM');
  switch (scope) {
    case RerunScope.UNSPECIFIED:
    case RerunScope.ALL:
      return 'ALL';
    case RerunScope.FAILED:
      return 'FAILED';
    case RerunScope.FROM:
      if (fromJobs.length === 0)
        addViolation(found, 'from_jobs', `is required: 1 to ${MAX_FROM_JOBS} names of jobs of the run`);
      checkCount(found, 'from_jobs', fromJobs.length, MAX_FROM_JOBS);
      return { from: fromJobs };
  }
  // Another number: enums of the contract are open.
  addViolation(found, 'scope', `must be ALL, FAILED or FROM; got ${String(scope)}`);
  return 'ALL';
}
