// Events of a run's ledger as the contract shows them.
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EventSchema } from '@conveyor/protocol/conveyor/v1/event_pb.js';
import { AttemptState, JobState, LogState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { RunState } from '@conveyor/protocol/conveyor/v1/run_pb.js';
import type { Asker } from '../core/commands.ts';
import { formatJobId } from '../core/ids.ts';
import type { EventView } from '../core/views.ts';
import { encodeArtifact } from './artifact-codec.ts';
import {
  encodeAnnotation,
  encodeAnswer,
  encodeCondition,
  encodeExpressionFailures,
  encodeFailure,
  encodeOutputs,
  encodeWait,
} from './encode-job.ts';
import { encodeTime } from './encode-run.ts';

type EventInit = MessageInitShape<typeof EventSchema>;

export function encodeEvent(view: EventView): EventInit {
  const { runId, seq, timeMs, runState, jobName, jobState, event } = view;
  return {
    runId,
    seq: BigInt(seq),
    time: timestampFromMs(timeMs),
    runState: RunState[runState],
    ...('job' in event && { jobId: formatJobId({ runId, job: event.job }) }),
    ...(jobName !== undefined && { job: jobName }),
    ...(jobState !== undefined && { jobState: JobState[jobState] }),
    ...('attempt' in event && { attempt: event.attempt }),
    kind: encodeKind(view),
  };
}

function encodeKind({ event, runId, timeMs, added = [] }: EventView): NonNullable<EventInit['kind']> {
  switch (event.type) {
    case 'RunCreated': {
      const { jobs, pipeline = '', revision = 0, rerunOf = '', trigger, startMs } = event;
      return {
        case: 'runCreated',
        value: { jobs, pipeline, revision, rerunOf, trigger, startTime: encodeTime(startMs) },
      };
    }
    case 'JobQueued':
      return { case: 'jobQueued', value: {} };
    case 'JobWaiting':
      return { case: 'jobWaiting', value: { wait: encodeWait(event) } };
    case 'AttemptOffered':
      return { case: 'attemptOffered', value: { driverInstance: event.instance } };
    case 'AttemptStarted':
      return { case: 'attemptStarted', value: {} };
    case 'AttemptAdopted':
      return { case: 'attemptAdopted', value: {} };
    case 'AttemptEnded':
      return {
        case: 'attemptEnded',
        value: {
          state: AttemptState[event.state],
          failure: event.failure && encodeFailure(event.failure),
          outputs: encodeOutputs(event.outputs),
          logSize: BigInt(event.logSize),
          logState: LogState[event.logState],
        },
      };
    case 'AttemptAnnotated':
      return { case: 'attemptAnnotated', value: { annotation: encodeAnnotation(event.annotation) } };
    case 'AttemptArtifact':
      return {
        case: 'attemptArtifact',
        value: { artifact: encodeArtifact(event.artifact), number: event.number },
      };
    case 'JobCancelRequested':
      return { case: 'jobCancelRequested', value: { reason: event.reason } };
    case 'AttemptTimedOut':
      return {
        case: 'attemptTimedOut',
        value: { silence: event.silenceMs === undefined ? undefined : durationFromMs(event.silenceMs) },
      };
    case 'AttemptHeard':
      return { case: 'attemptHeard', value: { heardTime: timestampFromMs(event.heardMs) } };
    case 'JobKillRequested':
      return { case: 'jobKillRequested', value: {} };
    case 'JobFinished': {
      const { failure, outputs, cancelReason = '' } = event;
      return {
        case: 'jobFinished',
        value: { failure: failure && encodeFailure(failure), outputs: encodeOutputs(outputs), cancelReason },
      };
    }
    case 'JobEvaluated': {
      const { condition, expressionFailures, spec, group = '', groupLimit = 0, rates = [], rateLimits = [] } = event;
      return {
        case: 'jobEvaluated',
        value: {
          condition: condition && encodeCondition(condition),
          spec,
          concurrencyGroup: group,
          concurrencyLimit: groupLimit,
          rateKeys: [...rates],
          rateLimits: [...rateLimits],
          ...encodeExpressionFailures(expressionFailures),
        },
      };
    }
    case 'JobsAdded':
    case 'JobsAppended':
      return {
        case: 'jobsAdded',
        value: {
          jobs: added.map(({ job, name, values }) => ({ jobId: formatJobId({ runId, job }), name, matrix: values })),
          maxParallel: event.type === 'JobsAdded' ? (event.maxParallel ?? 0) : 0,
        },
      };
    case 'GateAnswered':
      return { case: 'gateAnswered', value: { answer: encodeAnswer({ ...event, timeMs }) } };
    case 'ChildRunStarted':
      return { case: 'childRunStarted', value: { runId: event.childRun } };
    case 'RunCancelRequested':
      return { case: 'runCancelRequested', value: { reason: event.reason, force: event.force } };
    case 'RunFinished':
      return { case: 'runFinished', value: {} };
    case 'RunPaused':
      return { case: 'runPaused', value: askerOf(event) };
    case 'RunResumed':
      return { case: 'runResumed', value: askerOf(event) };
    case 'JobHeld':
      return { case: 'jobHeld', value: askerOf(event) };
    case 'JobReleased':
      return { case: 'jobReleased', value: askerOf(event) };
  }
}

function askerOf({ reason, actor }: Asker): Asker {
  return { reason, actor };
}
