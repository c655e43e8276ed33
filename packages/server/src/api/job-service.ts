// JobService: jobs, their attempts and logs.
import { create } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { GateVerdict, JobState, LogState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import type { AnswerGateRequest, JobService } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import { JobDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { checkLoneJob } from '../core/check-definition.ts';
import {
  addViolation,
  ANY_JOB_NAME,
  checkCount,
  checkJson,
  checkLabels,
  checkName,
  checkText,
  checkTextBytes,
  type Found,
} from '../core/check-fields.ts';
import { isSharedKey, KEY_RULE } from '../core/check-concurrency.ts';
import { LIMITS } from '../core/limits.ts';
import { RefusedError, withFields } from '../core/refusal.ts';
import type { JobState as JobStateName } from '../core/states.ts';
import type { Engine, GateReply } from '../engine/engine.ts';
import { decodeStates } from './decode-run.ts';
import { decodeJobDefinition, encodeJobDefinition } from './definition-codec.ts';
import { encodeExplanation } from './encode-explanation.ts';
import { encodeGroup, encodeMember } from './encode-group.ts';
import { encodeAttempt, encodeJob, encodeLogChunk, encodeLogSection } from './encode-job.ts';
import { encodePageToken } from './page-token.ts';
import {
  decodeAsker,
  decodeCount,
  decodeInTurns,
  decodeJobId,
  decodeNumber,
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

const MAX_FILTER_NAMES = 100;
const MAX_GROUPS = 100;
const DEFAULT_READ_BYTES = 262_144;
const MAX_READ_BYTES = 1_048_576;

export function createJobService({ runs, jobs, groups }: Engine): ServiceImpl<typeof JobService> {
  return {
    async createJob(request, { requestHeader }) {
      const project = decodeProject(request.project);
      const { params = {}, labels, job } = request;
      const newRun = await decodeInTurns(function* (found, work) {
        checkJson(found, 'params', params, LIMITS.paramsBytes);
        checkLabels(found, 'labels', labels);
        return {
          definition: yield* checkLoneJob(found, 'job', decodeJobDefinition(job ?? create(JobDefinitionSchema)), work),
          params,
          labels,
          trigger: decodeTrigger(found, 'trigger', request.trigger),
          ...decodeRequestId(found, request.requestId),
          ...decodeTraceparent(requestHeader),
        };
      });
      const { runId } = await runs.create(project, newRun).catch((error: unknown) => {
        if (!(error instanceof RefusedError)) throw error;
        throw new RefusedError(withFields(error.refusal, fieldOfJob));
      });
      return { job: encodeJob(await jobs.get(project, { runId, job: 0 })) };
    },

    async getJob(request, { signal }) {
      const project = decodeProject(request.project);
      const key = decodeJobId('job_id', request.jobId);
      const atSeq = decodeRequest((found) => decodeSeq(found, 'at_seq', request.atSeq));
      const job = await (atSeq === undefined ? jobs.get(project, key) : jobs.getAt(project, key, atSeq, signal));
      return { job: { ...encodeJob(job), definition: job.definition && encodeJobDefinition(job.definition) } };
    },

    async explainJob({ project, jobId }) {
      const owner = decodeProject(project);
      const key = decodeJobId('job_id', jobId);
      return encodeExplanation(key, await jobs.explain(owner, key));
    },

    async listJobs(request, { signal }) {
      const project = decodeProject(request.project);
      const runId = decodeRunId('run_id', request.runId);
      const { states, names, atSeq, page, list } = decodeRequest((found) => {
        const states = decodeStates(found, 'states', request.states, JOB_STATES);
        const names = decodeNames(found, request.names);
        const atSeq = decodeSeq(found, 'at_seq', request.atSeq);
        const list = listAt(['ListJobs', project, runId, states, names], atSeq);
        return { states, names, atSeq, list, page: decodePage(found, request, { request: list }) };
      });
      const { items, next } = await (atSeq === undefined
        ? jobs.list(project, runId, states, names, page)
        : jobs.listAt(project, runId, atSeq, states, names, page, signal));
      return { jobs: items.map(encodeJob), nextPageToken: encodePageToken(next, list) };
    },

    async cancelJob({ project, jobId, reason }) {
      const owner = decodeProject(project);
      const key = decodeJobId('job_id', jobId);
      const why = decodeRequest((found) => decodeReason(found, reason));
      return { job: encodeJob(await jobs.cancel(owner, key, why)) };
    },

    async holdJob(request) {
      const project = decodeProject(request.project);
      const key = decodeJobId('job_id', request.jobId);
      const asker = decodeRequest((found) => decodeAsker(found, request));
      return { job: encodeJob(await jobs.hold(project, key, asker)) };
    },

    async releaseJob(request) {
      const project = decodeProject(request.project);
      const key = decodeJobId('job_id', request.jobId);
      const asker = decodeRequest((found) => decodeAsker(found, request));
      return { job: encodeJob(await jobs.release(project, key, asker)) };
    },

    async answerGate(request) {
      const project = decodeProject(request.project);
      const key = decodeJobId('job_id', request.jobId);
      const answer = decodeRequest((found) => decodeAnswer(found, request));
      return { job: encodeJob(await jobs.answerGate(project, key, answer)) };
    },

    async retryJob(request) {
      const project = decodeProject(request.project);
      const key = decodeJobId('job_id', request.jobId);
      const { trigger, requestId } = decodeRequest((found) => ({
        trigger: decodeTrigger(found, 'trigger', request.trigger),
        ...decodeRequestId(found, request.requestId),
      }));
      return { job: encodeJob(await jobs.retry(project, key, trigger, requestId)) };
    },

    async listConcurrencyGroups(request) {
      const project = decodeProject(request.project);
      const list = ['ListConcurrencyGroups', project];
      const page = decodeRequest((found) => decodePage(found, request, { request: list }));
      const { items, next } = await groups.list(project, page);
      return { groups: items.map(encodeGroup), nextPageToken: encodePageToken(next, list) };
    },

    async getConcurrencyGroup(request) {
      const { key } = request;
      const project = decodeProject(request.project);
      const list = ['GetConcurrencyGroup', project, key];
      const page = decodeRequest((found) => {
        if (!isSharedKey(key)) addViolation(found, 'key', `must be ${KEY_RULE}`);
        return decodePage(found, request, { request: list });
      });
      const { group, members } = await groups.get(project, key, page);
      return {
        group: encodeGroup(group),
        members: members.items.map(encodeMember),
        nextPageToken: encodePageToken(members.next, list),
      };
    },

    async listAttempts(request, { signal }) {
      const project = decodeProject(request.project);
      const key = decodeJobId('job_id', request.jobId);
      const { atSeq, page, list } = decodeRequest((found) => {
        const atSeq = decodeSeq(found, 'at_seq', request.atSeq);
        const list = listAt(['ListAttempts', project, request.jobId], atSeq);
        return { atSeq, list, page: decodePage(found, request, { request: list }) };
      });
      const { items, next } = await (atSeq === undefined
        ? jobs.listAttempts(project, key, page)
        : jobs.listAttemptsAt(project, key, atSeq, page, signal));
      return { attempts: items.map(encodeAttempt), nextPageToken: encodePageToken(next, list) };
    },

    async readLog(request) {
      const project = decodeProject(request.project);
      const key = decodeJobId('job_id', request.jobId);
      const { attempt, offset, maxBytes } = decodeRequest((found) => ({
        ...decodeLogPosition(found, request),
        maxBytes: decodeNumber(found, 'max_bytes', request.maxBytes) ?? DEFAULT_READ_BYTES,
      }));
      const part = await jobs.readLog(project, key, attempt, offset, Math.min(maxBytes, MAX_READ_BYTES));
      return {
        attempt: part.attempt,
        chunks: part.chunks.map(encodeLogChunk),
        nextOffset: BigInt(part.nextOffset),
        logSize: BigInt(part.logSize),
        logState: LogState[part.logState],
        sections: part.sections.map(encodeLogSection),
      };
    },

    async *tailLog(request, { signal }) {
      const project = decodeProject(request.project);
      const key = decodeJobId('job_id', request.jobId);
      const { attempt, offset } = decodeRequest((found) => decodeLogPosition(found, request));
      for await (const part of jobs.tailLog(project, key, attempt, offset, signal)) {
        yield {
          attempt: part.attempt,
          chunks: part.chunks.map(encodeLogChunk),
          logState: LogState[part.logState],
          sections: part.sections.map(encodeLogSection),
        };
      }
    },
  };
}

/** What the request calls a field of the run that the job becomes. */
function fieldOfJob(field: string): string {
  return field.replace(/^run\.definition(\.jobs(\[0\])?)?/, 'job').replace(/^run\./, '');
}

const JOB_STATES: Readonly<Record<number, JobStateName>> = {
  [JobState.BLOCKED]: 'BLOCKED',
  [JobState.WAITING]: 'WAITING',
  [JobState.QUEUED]: 'QUEUED',
  [JobState.OFFERED]: 'OFFERED',
  [JobState.RUNNING]: 'RUNNING',
  [JobState.CANCELLING]: 'CANCELLING',
  [JobState.SUCCEEDED]: 'SUCCEEDED',
  [JobState.FAILED]: 'FAILED',
  [JobState.SKIPPED]: 'SKIPPED',
  [JobState.CANCELLED]: 'CANCELLED',
};

function decodeAnswer(found: Found, request: AnswerGateRequest): GateReply {
  const { actor, groups, answers = {}, comment } = request;
  const verdict = VERDICTS[request.verdict];
  if (verdict === undefined) addViolation(found, 'verdict', 'is required: APPROVE or REJECT');
  if (actor === '') addViolation(found, 'actor', 'is required: who answers, 1 to 256 characters');
  checkText(found, 'actor', actor, 256);
  checkCount(found, 'groups', groups.length, MAX_GROUPS);
  for (const [index, group] of groups.entries()) checkText(found, `groups[${index}]`, group, 256);
  checkJson(found, 'answers', answers, LIMITS.outputBytes);
  checkTextBytes(found, 'comment', comment, LIMITS.messageBytes);
  return { verdict: verdict ?? 'REJECT', actor, groups, answers, comment };
}

const VERDICTS: Readonly<Record<number, GateReply['verdict']>> = {
  [GateVerdict.APPROVE]: 'APPROVE',
  [GateVerdict.REJECT]: 'REJECT',
};

/** What a page token is bound to: one of what is now is good at every replica, also at one that knows no other. */
function listAt(list: readonly unknown[], atSeq: number | undefined): readonly unknown[] {
  return atSeq === undefined ? list : [...list, atSeq];
}

function decodeNames(found: Found, names: readonly string[]): string[] {
  checkCount(found, 'names', names.length, MAX_FILTER_NAMES);
  for (const [index, name] of names.entries()) checkName(found, `names[${index}]`, name, ANY_JOB_NAME);
  return [...new Set(names)].sort();
}

function decodeLogPosition(
  found: Found,
  request: { readonly attempt: number; readonly offset: bigint },
): { attempt: number | undefined; offset: number } {
  return {
    attempt: decodeNumber(found, 'attempt', request.attempt),
    offset: decodeCount(found, 'offset', request.offset),
  };
}
