// Owns what a program can do with runs. Lists and watches are iterators; everything else is one call.
import type { Client as ServiceClient } from '@connectrpc/connect';
import type { RunArtifact } from '@conveyor/protocol/conveyor/v1/artifact_pb.js';
import type { Event } from '@conveyor/protocol/conveyor/v1/event_pb.js';
import type { Run } from '@conveyor/protocol/conveyor/v1/run_pb.js';
import {
  type BatchCreateRunsResult,
  type JobChange,
  type PlanRunResponse,
  RerunScope,
  type RunService,
  type VerifyRunResponse,
} from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { type CallOptions, type PointOptions, required } from './call.ts';
import { type ListOptions, paged } from './paging.ts';
import { type WatchOptions, resume } from './resume.ts';
import {
  type AskerInput,
  type PlanInput,
  type RunFilterInput,
  type RunInput,
  type TriggerInput,
  toAssumed,
  toRunFilter,
  toRunSpec,
} from './run-input.ts';
import { type RunsUpdate, runEvents, runUpdates } from './watch.ts';
import { detailsOf, type Warning } from './warning.ts';

/** How a run is repeated. */
export interface RerunInput {
  /** Which jobs run again: all, or only those that did not succeed and what depends on them. Default: `all`. */
  readonly scope?: 'all' | 'failed' | undefined;
  /** In place of `scope`: the names of jobs, at most 100. These and all that depend on them run again. */
  readonly from?: readonly string[] | undefined;
  /** Default: of kind `api`. */
  readonly trigger?: TriggerInput | undefined;
  /** As for `create`. */
  readonly requestId?: string | undefined;
}

/** Between which events a run is compared, by their `seq`. */
export interface DiffInput {
  /** The run is compared as it was right after this one. */
  readonly fromSeq: bigint;
  /** With how it was right after this one. Default: the newest. */
  readonly toSeq?: bigint | undefined;
}

/** What became of a run from one event to another. */
export interface RunDiff {
  /** The run right after each, without params and definition. */
  readonly before: Run;
  readonly after: Run;
  /** How many events lie between: those after the first, up to and with the second. */
  readonly eventCount: bigint;
  readonly changedJobCount: number;
  /** The jobs that changed, in the definition's order; further pages are fetched as they are read. To be read once. */
  readonly jobs: AsyncIterable<JobChange>;
}

/** How a run is created. */
export interface CreateOptions extends CallOptions {
  /** Hears of what could not be checked, such as the spec of a driver that has never connected; of a repetition it hears nothing. */
  readonly onWarning?: (warning: Warning) => void;
}

/** Runs of the client's project. Every method throws ConveyorError, or the reason of the caller's signal. */
export interface Runs {
  /** Creates a run; when it returns, the run is durable. Reasons: PIPELINE_NOT_FOUND, INVALID_FIELD, SPEC_MISMATCH, REQUEST_ID_REUSED. */
  create(input: RunInput, options?: CreateOptions): Promise<Run>;
  /** Creates up to 1,000 runs, each of which succeeds or fails by itself; answers in the order of `inputs`. */
  createBatch(inputs: readonly RunInput[], options?: CallOptions): Promise<BatchCreateRunsResult[]>;
  /** Reads a run with its params and definition. Reason: RUN_NOT_FOUND; with `atSeq` also INVALID_FIELD, LIMIT_REACHED. */
  get(runId: string, options?: CallOptions & PointOptions): Promise<Run>;
  /** Runs, newest first, without params and definitions. */
  list(filter?: RunFilterInput, options?: ListOptions): AsyncIterable<Run>;
  /** Asks a run to stop; `force` stops `always` jobs too. Reasons: RUN_NOT_FOUND, ALREADY_FINISHED. */
  cancel(runId: string, input?: { reason?: string; force?: boolean }, options?: CallOptions): Promise<Run>;
  /**
   * Holds back what of a run has not started; what runs goes on. Reasons: RUN_NOT_FOUND, ALREADY_FINISHED, CANCEL_REQUESTED,
   * REPLICA_TOO_OLD.
   */
  pause(runId: string, input?: AskerInput, options?: CallOptions): Promise<Run>;
  /** Lets a paused run go on. Reasons: RUN_NOT_FOUND, ALREADY_FINISHED, REPLICA_TOO_OLD. */
  resume(runId: string, input?: AskerInput, options?: CallOptions): Promise<Run>;
  /** Makes a new run of a finished one. Reasons: RUN_NOT_FOUND, NOT_FINISHED, INVALID_FIELD, REQUEST_ID_REUSED. */
  rerun(runId: string, input?: RerunInput, options?: CallOptions): Promise<Run>;
  /**
   * Deletes a finished run with all that belongs to it. It is not repeated by itself: a repetition would be refused by RUN_NOT_FOUND.
   * Reasons: RUN_NOT_FOUND, NOT_FINISHED.
   */
  delete(runId: string, options?: CallOptions): Promise<void>;
  /**
   * Compares a run with its ledger and its logs with their sizes and CRCs; `skipLogs` leaves the bytes out. It reads all that is stored:
   * give it time by `timeoutMs`. Reasons: RUN_NOT_FOUND, LIMIT_REACHED.
   */
  verify(runId: string, options?: CallOptions & { readonly skipLogs?: boolean }): Promise<VerifyRunResponse>;
  /**
   * Tells what a run would do, without creating it; what cannot be known is told as UNKNOWN. Reasons: those of `create`, LIMIT_REACHED.
   */
  plan(input: PlanInput, options?: CallOptions): Promise<PlanRunResponse>;
  /** Compares a run with itself at another event. Reasons: RUN_NOT_FOUND, INVALID_FIELD, LIMIT_REACHED. */
  diff(runId: string, input: DiffInput, options?: ListOptions): Promise<RunDiff>;
  /** What the attempts of a run made, by job, attempt and number. Reasons: RUN_NOT_FOUND, JOB_NOT_FOUND. */
  artifacts(runId: string, options?: ListOptions & { readonly job?: string }): AsyncIterable<RunArtifact>;
  /** One run's events, first the stored ones behind `afterSeq` (default 0), then new ones, to its last. Reconnects. */
  watch(runId: string, options?: WatchOptions & { readonly afterSeq?: bigint }): AsyncIterable<Event>;
  /**
   * The runs that match a filter: a snapshot of all, then each change, until the signal aborts. Reconnects. With the `cursor`
   * of an earlier update it goes on behind that, without a snapshot; the filter must be the same. Runs that are deleted leave. A cursor
   * is good for 7 days; an older one may be refused by INVALID_CURSOR: then watch again without it.
   */
  watchAll(filter?: RunFilterInput, options?: WatchOptions & { readonly cursor?: string }): AsyncIterable<RunsUpdate>;
  /** Waits until the run has finished, then reads it. */
  finished(runId: string, options?: WatchOptions): Promise<Run>;
}

export function createRuns(rpc: ServiceClient<typeof RunService>): Runs {
  const watch: Runs['watch'] = (runId, options = {}) => resume(runEvents(rpc, runId, options.afterSeq ?? 0n), options);
  const get: Runs['get'] = async (runId, { atSeq = 0n, ...options } = {}) =>
    required((await rpc.getRun({ runId, atSeq }, options)).run);
  return {
    async create(input, { onWarning, ...options } = {}) {
      const request = { run: toRunSpec(input), requestId: input.requestId ?? '' };
      const answer = await rpc.createRun(request, options);
      if (onWarning !== undefined) detailsOf(answer).forEach(onWarning);
      return required(answer.run);
    },
    async createBatch(inputs, options) {
      const items = inputs.map((input) => ({ run: toRunSpec(input), requestId: input.requestId ?? '' }));
      return (await rpc.batchCreateRuns({ items }, options)).results;
    },
    get,
    list: (filter = {}, options = {}) =>
      paged(async (page) => {
        const { runs, nextPageToken } = await rpc.listRuns({ filter: toRunFilter(filter), ...page }, options);
        return { items: runs, nextPageToken };
      }, options),
    async cancel(runId, { reason = '', force = false } = {}, options) {
      return required((await rpc.cancelRun({ runId, reason, force }, options)).run);
    },
    async pause(runId, { reason = '', actor = '' } = {}, options) {
      return required((await rpc.pauseRun({ runId, reason, actor }, options)).run);
    },
    async resume(runId, { reason = '', actor = '' } = {}, options) {
      return required((await rpc.resumeRun({ runId, reason, actor }, options)).run);
    },
    async rerun(runId, { scope = 'all', from, trigger, requestId = '' } = {}, options) {
      const jobs = from === undefined ? { scope: rerunScopes[scope] } : { scope: RerunScope.FROM, fromJobs: [...from] };
      const request = { runId, requestId, ...jobs, ...(trigger === undefined ? {} : { trigger }) };
      return required((await rpc.rerunRun(request, options)).run);
    },
    async delete(runId, options) {
      await rpc.deleteRun({ runId }, options);
    },
    verify: (runId, { skipLogs = false, ...options } = {}) => rpc.verifyRun({ runId, skipLogs }, options),
    plan: (input, options) => rpc.planRun({ run: toRunSpec(input), assumed: toAssumed(input.assumed) }, options),
    async diff(runId, { fromSeq, toSeq = 0n }, options = {}) {
      const fetchPage = (page: { pageSize: number; pageToken: string }) =>
        rpc.diffRun({ runId, fromSeq, toSeq, ...page }, options);
      const first = await fetchPage({ pageSize: options.pageSize ?? 0, pageToken: '' });
      const { before, after, eventCount, changedJobCount } = first;
      return {
        before: required(before),
        after: required(after),
        eventCount,
        changedJobCount,
        jobs: paged(async (page) => {
          const { jobs, nextPageToken } = page.pageToken === '' ? first : await fetchPage(page);
          return { items: jobs, nextPageToken };
        }, options),
      };
    },
    artifacts: (runId, { job = '', ...options } = {}) =>
      paged(async (page) => {
        const { artifacts, nextPageToken } = await rpc.listRunArtifacts({ runId, job, ...page }, options);
        return { items: artifacts, nextPageToken };
      }, options),
    watch,
    watchAll: (filter = {}, options = {}) => resume(runUpdates(rpc, filter, options.cursor ?? ''), options),
    async finished(runId, options = {}) {
      for await (const _ of watch(runId, options));
      return get(runId, options.signal === undefined ? {} : { signal: options.signal });
    },
  };
}

const rerunScopes = { all: RerunScope.ALL, failed: RerunScope.FAILED };
