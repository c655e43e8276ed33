// Runs, pipelines and driver instances as the contract shows them.
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs, type Timestamp } from '@bufbuild/protobuf/wkt';
import { DriverState, type DriverSchema } from '@conveyor/protocol/conveyor/v1/driver_pb.js';
import type { PipelineRevisionSchema, PipelineSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import {
  type AppendedJobs,
  AppendedJobsSchema,
  type RunPauseSchema,
  type RunSchema,
  RunState,
} from '@conveyor/protocol/conveyor/v1/run_pb.js';
import { formatJobId, type RunId } from '../core/ids.ts';
import { LIMITS } from '../core/limits.ts';
import type { HoldBack } from '../core/run-state.ts';
import type { AppendedView, DriverView, PipelineView, RevisionView, RunView } from '../core/views.ts';
import { encodeDefinition, encodeJobDefinition } from './definition-codec.ts';

/** A run as lists and watches show it: without params and definition. */
export function encodeRunHeader(run: RunView) {
  return {
    runId: run.runId,
    project: run.project,
    pipeline: run.pipeline ?? '',
    revision: run.revision ?? 0,
    state: RunState[run.state],
    labels: run.labels,
    trigger: run.trigger,
    jobCounts: run.counts,
    seq: BigInt(run.seq),
    rerunOf: run.rerunOf ?? '',
    cancelReason: run.cancelReason ?? '',
    pause: run.pause && encodePause(run.pause),
    createTime: timestampFromMs(run.createdMs),
    startTime: encodeTime(run.startedMs),
    finishTime: encodeTime(run.finishedMs),
  } satisfies MessageInitShape<typeof RunSchema>;
}

/** A run with its params; its definition is for encodeWholeRun alone to add. */
export function encodeRun(run: RunView) {
  return { ...encodeRunHeader(run), params: run.params } satisfies MessageInitShape<typeof RunSchema>;
}

/** A run with its params, its definition and what was appended to it. */
export function encodeWholeRun(run: RunView): MessageInitShape<typeof RunSchema> {
  const { definition, appended = [] } = run;
  return {
    ...encodeRun(run),
    definition: definition && encodeDefinition(definition),
    appendedJobs: encodeAppended(run.runId, appended),
  };
}

/** As much of it as fits beside the largest definition. */
function encodeAppended(runId: RunId, appended: readonly AppendedView[]): AppendedJobs[] {
  const encoded: AppendedJobs[] = [];
  let bytes = 0;
  for (const { job, name, jobs } of appended) {
    const one = create(AppendedJobsSchema, {
      jobId: formatJobId({ runId, job }),
      job: name,
      jobs: jobs.map(encodeJobDefinition),
    });
    bytes += toBinary(AppendedJobsSchema, one).length;
    if (bytes > LIMITS.requestBytes) break;
    encoded.push(one);
  }
  return encoded;
}

export function encodePipeline(pipeline: PipelineView): MessageInitShape<typeof PipelineSchema> {
  return {
    project: pipeline.project,
    name: pipeline.name,
    revision: pipeline.revision,
    definition: pipeline.definition && encodeDefinition(pipeline.definition),
    createTime: timestampFromMs(pipeline.createdMs),
    updateTime: timestampFromMs(pipeline.updatedMs),
  };
}

export function encodeRevision(revision: RevisionView): MessageInitShape<typeof PipelineRevisionSchema> {
  return {
    project: revision.project,
    pipeline: revision.pipeline,
    revision: revision.revision,
    definition: encodeDefinition(revision.definition),
    digest: revision.digest,
    createTime: timestampFromMs(revision.createdMs),
  };
}

export function encodeDriver(driver: DriverView): MessageInitShape<typeof DriverSchema> {
  return {
    name: driver.name,
    instance: driver.instance,
    state: DriverState[driver.state],
    labels: driver.labels,
    slots: driver.slots,
    pools: driver.pools,
    held: driver.held,
    epoch: BigInt(driver.epoch),
    version: driver.version,
    specSchema: driver.specSchema,
    createTime: timestampFromMs(driver.createdMs),
    connectTime: timestampFromMs(driver.connectedMs),
    heartbeatTime: timestampFromMs(driver.heartbeatMs),
  };
}

export function encodePause({ reason, actor, sinceMs }: HoldBack): MessageInitShape<typeof RunPauseSchema> {
  return { reason, actor, time: timestampFromMs(sinceMs) };
}

export function encodeTime(ms: number | undefined): Timestamp | undefined {
  return ms === undefined ? undefined : timestampFromMs(ms);
}
