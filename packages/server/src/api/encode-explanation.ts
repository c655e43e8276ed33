// Explanations of jobs that do not start, as the contract shows them.
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  BlockerCaveatKind,
  type BlockerSchema,
  type BlockingJobSchema,
  InstancesCause,
  type InstanceRequirementSchema,
  type InstancesBlockerSchema,
  JobStanding,
} from '@conveyor/protocol/conveyor/v1/blocker_pb.js';
import { JobState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import type { ExplainJobResponseSchema } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import { GateExpiry } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { RunState } from '@conveyor/protocol/conveyor/v1/run_pb.js';
import { blockerText, caveatText, summaryText } from '../core/blocker-text.ts';
import type { Blocker, InstancesBlocker, JobExplanation, NamedJob, Requirement } from '../core/blockers.ts';
import { formatJobId, type JobKey } from '../core/ids.ts';
import { encodeQueuePause } from './driver-service.ts';
import { encodeHold } from './encode-job.ts';
import { encodePause, encodeTime } from './encode-run.ts';
import { encodeRule } from './placement-codec.ts';

export function encodeExplanation(
  key: JobKey,
  explanation: JobExplanation,
): MessageInitShape<typeof ExplainJobResponseSchema> {
  const { state, standing, blockers, caveats, atMs, seq } = explanation;
  return {
    jobId: formatJobId(key),
    state: JobState[state],
    standing: JobStanding[standing],
    message: summaryText(explanation, state),
    blockers: blockers.map((blocker) => ({ message: blockerText(blocker), kind: encodeBlocker(blocker) })),
    caveats: caveats.map((caveat) => ({ kind: BlockerCaveatKind[caveat], message: caveatText(caveat) })),
    time: timestampFromMs(atMs),
    seq: BigInt(seq),
  };
}

function encodeBlocker(blocker: Blocker): NonNullable<MessageInitShape<typeof BlockerSchema>['kind']> {
  switch (blocker.kind) {
    case 'DELAY':
      return { case: 'delay', value: { untilTime: timestampFromMs(blocker.untilMs) } };
    case 'BACKOFF':
      return { case: 'backoff', value: { untilTime: timestampFromMs(blocker.untilMs) } };
    case 'RUN_PAUSED':
      return { case: 'runPause', value: encodePause(blocker.pause) };
    case 'HELD':
      return { case: 'hold', value: { jobId: formatJobId(blocker.job), hold: encodeHold(blocker.hold) } };
    case 'NEEDS':
      return { case: 'needs', value: { openCount: blocker.open, jobs: blocker.jobs.map(encodeNamed) } };
    case 'MATRIX': {
      const { job, name, limit, underWay: underWayCount, jobs, ahead: aheadCount } = blocker;
      const cells = { underWayCount, jobs: jobs.map(encodeNamed), aheadCount };
      return { case: 'matrix', value: { jobId: formatJobId(job), name, limit, ...cells } };
    }
    case 'GATE': {
      const { approved: approvedCount, quorum, approvers, untilMs, onTimeout } = blocker;
      const end = { untilTime: encodeTime(untilMs), onTimeout: GateExpiry[onTimeout] };
      return { case: 'gate', value: { approvedCount, quorum, approvers: [...approvers], ...end } };
    }
    case 'CELLS':
      return { case: 'cells', value: { openCount: blocker.open, jobs: blocker.jobs.map(encodeNamed) } };
    case 'CHILD_RUN': {
      const { pipeline, run } = blocker;
      return { case: 'childRun', value: { pipeline, ...(run && { runId: run.runId, state: RunState[run.state] }) } };
    }
    case 'GROUP': {
      const { key, limit, holding: holdingCount, holders, ahead: aheadCount } = blocker;
      const holderJobIds = holders.map(formatJobId);
      return { case: 'group', value: { key, limit, holdingCount, holderJobIds, aheadCount } };
    }
    case 'RATE': {
      const { key, cost, expectedMs, ahead: aheadCount } = blocker;
      return { case: 'rate', value: { key, cost, expectedTime: timestampFromMs(expectedMs), aheadCount } };
    }
    case 'QUEUE_PAUSED':
      return { case: 'queuePause', value: encodeQueuePause(blocker.pause) };
    case 'INSTANCES':
      return { case: 'instances', value: encodeInstances(blocker) };
    case 'OFFER': {
      const { instance: driverInstance, sinceMs, untilMs } = blocker;
      const times = { offerTime: timestampFromMs(sinceMs), untilTime: timestampFromMs(untilMs) };
      return { case: 'offer', value: { driverInstance, ...times } };
    }
  }
}

function encodeInstances(blocker: InstancesBlocker): MessageInitShape<typeof InstancesBlockerSchema> {
  const { driver, cause, requirements, slots, freeSlots, untilMs } = blocker;
  return {
    driver,
    cause: InstancesCause[cause],
    connectedCount: blocker.connected,
    requirements: requirements.map(encodeRequirement),
    fittingCount: blocker.fitting,
    drainingCount: blocker.draining,
    fullCount: blocker.full,
    passedOverCount: blocker.passedOver,
    slots,
    freeSlots,
    untilTime: encodeTime(untilMs),
    aheadCount: blocker.ahead,
  };
}

function encodeRequirement({
  needed,
  instances: instanceCount,
}: Requirement): MessageInitShape<typeof InstanceRequirementSchema> {
  if (needed === 'SPEC') return { needed: { case: 'spec', value: true }, instanceCount };
  if ('pool' in needed) return { needed: { case: 'pool', value: needed.pool }, instanceCount };
  return { needed: { case: 'label', value: encodeRule(needed) }, instanceCount };
}

function encodeNamed({ name, state, ...key }: NamedJob): MessageInitShape<typeof BlockingJobSchema> {
  return { jobId: formatJobId(key), name, state: JobState[state] };
}
