// A plan of a run as the contract shows it. What is known of each job is sent for as many jobs as a response has room for, in order; of
// the others only what becomes of them, for which there is always room.
import { setImmediate as turn } from 'node:timers/promises';
import { create, type MessageInitShape, toBinary, toJson } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { JobState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { RunState } from '@conveyor/protocol/conveyor/v1/run_pb.js';
import {
  type CriticalPathSchema,
  JobPrediction,
  type PlannedGroupSchema,
  type PlannedJob,
  PlannedJobSchema,
  type PlanRunResponseSchema,
} from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import type { CriticalPath } from '../core/critical-path.ts';
import { LIMITS } from '../core/limits.ts';
import { plannedJob, type PlannedJob as JobOfPlan } from '../core/plan.ts';
import type { PlannedJobView, RunPlanView } from '../core/run-plan.ts';
import { encodeCondition, encodeExpressionFailures, encodeFailure } from './encode-job.ts';

/** Of all jobs; the rest of a response is for what is said beside them. */
const JOBS_BYTES = LIMITS.responseBytes - 262_144;
const MAX_DRIVERS = 500;
const MAX_STEPS = 500;
const MAX_WARNING = 300;
/** Between which others get their turn. */
const JOBS_AT_ONCE = 200;

export async function encodeRunPlan(plan: RunPlanView): Promise<MessageInitShape<typeof PlanRunResponseSchema>> {
  const jobs = await encodeJobs(plan);
  return {
    pipeline: plan.pipeline?.name ?? '',
    revision: plan.pipeline?.revision ?? 0,
    ...(plan.state !== undefined && { state: RunState[plan.state] }),
    jobs,
    detailsOmitted: jobs.some(({ detailsOmitted }) => detailsOmitted),
    drivers: plan.drivers.slice(0, MAX_DRIVERS).map(({ name, connected, ready, freeSlots, jobs }) => ({
      name,
      connectedInstances: connected,
      readyInstances: ready,
      freeSlots,
      jobs,
    })),
    criticalPath: encodePath(plan.path),
    warnings: plan.warnings.map((warning) => warning.slice(0, MAX_WARNING)),
  };
}

async function encodeJobs(plan: RunPlanView): Promise<PlannedJob[]> {
  const all: PlannedJob[] = [];
  let left = JOBS_BYTES;
  for (const [index, job] of plan.jobs.entries()) {
    if (index % JOBS_AT_ONCE === 0) await turn();
    const summary = summaryOf(job);
    left -= bytesOf(summary);
    all.push(summary);
  }
  for (const [index, job] of plan.jobs.entries()) {
    if (index % JOBS_AT_ONCE === 0) await turn();
    const whole = wholeOf(plan, job);
    left -= bytesOf(whole);
    if (left < 0) break;
    all[index] = whole;
  }
  return all;
}

/** In the larger of both forms that it may be sent in. */
function bytesOf(job: PlannedJob): number {
  return Math.max(
    toBinary(PlannedJobSchema, job).length,
    Buffer.byteLength(JSON.stringify(toJson(PlannedJobSchema, job))),
  );
}

function summaryOf({ job, wave, fate, state }: PlannedJobView): PlannedJob {
  return create(PlannedJobSchema, {
    name: job.name,
    wave,
    prediction: JobPrediction[fate],
    ...(state !== undefined && { state: JobState[state] }),
    detailsOmitted: true,
  });
}

function wholeOf(plan: RunPlanView, view: PlannedJobView): PlannedJob {
  const { job, fate, state, failure, condition, expressionFailures, spec, readyInstances } = view;
  const { driver, stage = '' } = job.definition;
  const durationMs = plan.durations.get(job.name);
  return create(PlannedJobSchema, {
    name: job.name,
    driver,
    needs: namesOf(plan, job),
    stage,
    matrixJob: job.cell === undefined ? '' : job.definition.name,
    ...(job.cell !== undefined && { matrix: job.cell.values }),
    wave: view.wave,
    prediction: JobPrediction[fate],
    ...(state !== undefined && { state: JobState[state] }),
    ...(failure !== undefined && { failure: encodeFailure(failure) }),
    failureAllowed: view.failureAllowed ?? false,
    unknownReason: view.reason ?? '',
    ...(condition !== undefined && { condition: encodeCondition(condition) }),
    ...encodeExpressionFailures(expressionFailures),
    ...(spec !== undefined && { spec }),
    ...(readyInstances !== undefined && { readyInstances }),
    ...(durationMs !== undefined && { expectedDuration: durationFromMs(durationMs) }),
    concurrencyGroup: encodeGroup(view),
    rateLimits: [...(view.rates ?? [])],
  });
}

function encodeGroup({ group, groupNow }: PlannedJobView): MessageInitShape<typeof PlannedGroupSchema> | undefined {
  if (group === undefined) return undefined;
  const { holding = 0, waiting = 0, isFull = false } = groupNow ?? {};
  return { ...group, holdingCount: holding, waitingCount: waiting, full: isFull };
}

function namesOf({ plan }: RunPlanView, { needs }: JobOfPlan): string[] {
  return needs.map((need) => plannedJob(plan, need).name);
}

function encodePath({ steps, totalMs }: CriticalPath): MessageInitShape<typeof CriticalPathSchema> {
  return {
    steps: steps.slice(0, MAX_STEPS).map(({ name, durationMs }) => ({
      job: name,
      ...(durationMs !== undefined && { expectedDuration: durationFromMs(durationMs) }),
    })),
    totalDuration: durationFromMs(totalMs),
  };
}
