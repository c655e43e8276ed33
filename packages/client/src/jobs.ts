// Owns what a program can do with jobs, their attempts and their logs.
import type { JsonObject, MessageInitShape } from '@bufbuild/protobuf';
import type { Client as ServiceClient } from '@connectrpc/connect';
import type { ConcurrencyGroup, ConcurrencyGroupMember } from '@conveyor/protocol/conveyor/v1/concurrency_group_pb.js';
import { type Attempt, GateVerdict, type Job, type JobState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import type { ExplainJobResponse, JobService } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import type { JobDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { type CallOptions, type PointOptions, required } from './call.ts';
import { type LogPart, type LogPosition, logTail, storedLog } from './log-tail.ts';
import { type ListOptions, paged } from './paging.ts';
import { type WatchOptions, resume } from './resume.ts';
import type { AskerInput, TriggerInput } from './run-input.ts';

/** A job to run on its own. */
export interface JobInput {
  /** The job; it can have no `needs`. */
  readonly job: MessageInitShape<typeof JobDefinitionSchema>;
  /** Default: {}. */
  readonly params?: JsonObject | undefined;
  /** Labels of its run. Default: none. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Default: of kind `api`. */
  readonly trigger?: TriggerInput | undefined;
  /** For 24 h the same id with the same body answers with the same job. Default: a random one for each call. */
  readonly requestId?: string | undefined;
}

/** Which jobs of a run. Default: all. */
export interface JobFilterInput {
  /** Only jobs in one of these states. */
  readonly states?: readonly JobState[] | undefined;
  /** Only jobs with these names, at most 100. */
  readonly names?: readonly string[] | undefined;
}

/** What somebody answers to a gate. */
export interface GateAnswerInput {
  /** A gate goes on once as many people as its quorum approved; one rejection fails it. */
  readonly verdict: 'approve' | 'reject';
  /** Who answers, in the platform's own words, which has made sure of it. 1 to 256 characters. */
  readonly actor: string;
  /** Groups that they belong to, for the gate's `approvers`. Default: none. */
  readonly groups?: readonly string[] | undefined;
  /** What the gate's form asks for. Default: {}. */
  readonly answers?: JsonObject | undefined;
  /** Why, for people to read; at most 4 KiB. Default: empty. */
  readonly comment?: string | undefined;
}

/** Jobs of the client's project. Every method throws ConveyorError, or the reason of the caller's signal. */
export interface Jobs {
  /** Creates a run of one job; when it returns, the run is durable. Reasons: INVALID_FIELD, SPEC_MISMATCH, REQUEST_ID_REUSED. */
  create(input: JobInput, options?: CallOptions): Promise<Job>;
  /** Reads a job with its definition. Reason: JOB_NOT_FOUND; with `atSeq` also INVALID_FIELD, LIMIT_REACHED. */
  get(jobId: string, options?: CallOptions & PointOptions): Promise<Job>;
  /**
   * Why a job does not start: everything that keeps it from that now, and nothing of one that has started. Each blocker is of a `kind`
   * for programs and has a `message` for people; once all have ended the job starts. Reason: JOB_NOT_FOUND.
   */
  explain(jobId: string, options?: CallOptions): Promise<ExplainJobResponse>;
  /** The jobs of a run in the definition's order. Reason: RUN_NOT_FOUND; with `atSeq` also INVALID_FIELD, LIMIT_REACHED. */
  list(runId: string, filter?: JobFilterInput, options?: ListOptions & PointOptions): AsyncIterable<Job>;
  /** Concurrency groups in which jobs hold places or wait for them, by key. */
  groups(options?: ListOptions): AsyncIterable<ConcurrencyGroup>;
  /** A concurrency group; without a job in it, all its numbers are 0. */
  group(key: string, options?: CallOptions): Promise<ConcurrencyGroup>;
  /** The jobs of a concurrency group: those that hold places, then those that wait, each in the order in which they came. */
  groupMembers(key: string, options?: ListOptions): AsyncIterable<ConcurrencyGroupMember>;
  /** Asks a job to stop. Reasons: JOB_NOT_FOUND, ALREADY_FINISHED. */
  cancel(jobId: string, input?: { reason?: string }, options?: CallOptions): Promise<Job>;
  /**
   * Holds a job back: no attempt of it starts until it is released; one that runs goes on. Reasons: JOB_NOT_FOUND, ALREADY_FINISHED,
   * CANCEL_REQUESTED, REPLICA_TOO_OLD.
   */
  hold(jobId: string, input?: AskerInput, options?: CallOptions): Promise<Job>;
  /** Lets a held job go on. Reasons: JOB_NOT_FOUND, ALREADY_FINISHED, REPLICA_TOO_OLD. */
  release(jobId: string, input?: AskerInput, options?: CallOptions): Promise<Job>;
  /**
   * Answers a gate that waits; who answers again replaces the earlier answer. Returns the gate as it is then. Reasons: JOB_NOT_FOUND,
   * INVALID_FIELD, NOT_A_GATE, NOT_AN_APPROVER, NOT_WAITING, ALREADY_FINISHED.
   */
  answerGate(jobId: string, answer: GateAnswerInput, options?: CallOptions): Promise<Job>;
  /**
   * Runs a job again: at once while it waits for a retry, else in a new run. Returns the job that runs.
   * Reasons: JOB_NOT_FOUND, NOT_FINISHED, REQUEST_ID_REUSED.
   */
  retry(jobId: string, input?: { trigger?: TriggerInput; requestId?: string }, options?: CallOptions): Promise<Job>;
  /** The attempts of a job, oldest first. Reason: JOB_NOT_FOUND; with `atSeq` also INVALID_FIELD, LIMIT_REACHED. */
  attempts(jobId: string, options?: ListOptions & PointOptions): AsyncIterable<Attempt>;
  /** What is stored of a log now. Reasons: JOB_NOT_FOUND, ATTEMPT_NOT_FOUND. */
  readLog(jobId: string, position?: LogPosition, options?: CallOptions): AsyncIterable<LogPart>;
  /**
   * A log from any offset, first what is stored, then what comes, until the attempt ends; waits for a first attempt.
   * Reconnects. Reasons: JOB_NOT_FOUND, ATTEMPT_NOT_FOUND (also when the job finishes without any attempt).
   */
  tailLog(jobId: string, position?: LogPosition, options?: WatchOptions): AsyncIterable<LogPart>;
}

export function createJobs(rpc: ServiceClient<typeof JobService>): Jobs {
  return {
    async create({ job, params, labels, trigger, requestId = '' }, options) {
      const request = {
        job,
        labels: { ...labels },
        requestId,
        ...(params === undefined ? {} : { params }),
        ...(trigger === undefined ? {} : { trigger }),
      };
      return required((await rpc.createJob(request, options)).job);
    },
    get: async (jobId, { atSeq = 0n, ...options } = {}) => required((await rpc.getJob({ jobId, atSeq }, options)).job),
    explain: (jobId, options) => rpc.explainJob({ jobId }, options),
    list: (runId, { states = [], names = [] } = {}, { atSeq = 0n, ...options } = {}) =>
      paged(async (page) => {
        const request = { runId, states: [...states], names: [...names], atSeq, ...page };
        const { jobs, nextPageToken } = await rpc.listJobs(request, options);
        return { items: jobs, nextPageToken };
      }, options),
    groups: (options = {}) =>
      paged(async (page) => {
        const { groups, nextPageToken } = await rpc.listConcurrencyGroups(page, options);
        return { items: groups, nextPageToken };
      }, options),
    group: async (key, options) => required((await rpc.getConcurrencyGroup({ key, pageSize: 1 }, options)).group),
    groupMembers: (key, options = {}) =>
      paged(async (page) => {
        const { members, nextPageToken } = await rpc.getConcurrencyGroup({ key, ...page }, options);
        return { items: members, nextPageToken };
      }, options),
    async cancel(jobId, { reason = '' } = {}, options) {
      return required((await rpc.cancelJob({ jobId, reason }, options)).job);
    },
    async hold(jobId, { reason = '', actor = '' } = {}, options) {
      return required((await rpc.holdJob({ jobId, reason, actor }, options)).job);
    },
    async release(jobId, { reason = '', actor = '' } = {}, options) {
      return required((await rpc.releaseJob({ jobId, reason, actor }, options)).job);
    },
    async answerGate(jobId, { verdict, actor, groups = [], answers, comment = '' }, options) {
      const request = {
        jobId,
        verdict: verdict === 'approve' ? GateVerdict.APPROVE : GateVerdict.REJECT,
        actor,
        groups: [...groups],
        comment,
        ...(answers === undefined ? {} : { answers }),
      };
      return required((await rpc.answerGate(request, options)).job);
    },
    async retry(jobId, { trigger, requestId = '' } = {}, options) {
      const request = { jobId, requestId, ...(trigger === undefined ? {} : { trigger }) };
      return required((await rpc.retryJob(request, options)).job);
    },
    attempts: (jobId, { atSeq = 0n, ...options } = {}) =>
      paged(async (page) => {
        const { attempts, nextPageToken } = await rpc.listAttempts({ jobId, atSeq, ...page }, options);
        return { items: attempts, nextPageToken };
      }, options),
    readLog: (jobId, position = {}, options = {}) => storedLog(rpc, jobId, position, options),
    tailLog: (jobId, position = {}, options = {}) => resume(logTail(rpc, jobId, position), options),
  };
}
