// The client of the Conveyor API for Node and browsers. What only Node has is in `@conveyor/client/node`.
export type { Backoff } from './backoff.ts';
export type { CallOptions, PointOptions } from './call.ts';
export { type Client, type ClientOptions, type ClientPolicy, createClient } from './client.ts';
export type { DemandUpdate } from './demand.ts';
export type {
  DemandInput,
  DrainInput,
  DrainResult,
  DriverFilterInput,
  Drivers,
  PauseQueueInput,
  QueueInput,
} from './drivers.ts';
export { type DurationText, parseDuration } from './duration.ts';
export {
  ConveyorError,
  type ConveyorErrorDetails,
  type ErrorCode,
  type ErrorReason,
  type FieldViolation,
} from './error.ts';
export type { MatrixOptions } from './job-kinds.ts';
export type { ConcurrencyOptions, ExpressionText, Limit, RateLimitOptions } from './job-limits.ts';
export type { LabelRuleOptions, SelectorOptions } from './job-places.ts';
export type { GateAnswerInput, JobFilterInput, JobInput, Jobs } from './jobs.ts';
export type { LogPart, LogPosition } from './log-tail.ts';
export { outputsOf } from './outputs.ts';
export type { ListOptions } from './paging.ts';
export {
  type AnyJobOptions,
  type GateOptions,
  type JobOptions,
  type PipelineBuilder,
  type PipelineCallOptions,
  type PipelineOptions,
  type RetryOptions,
  type TimeoutOptions,
  pipeline,
} from './pipeline-builder.ts';
export type { AppliedPipeline, PipelineInput, Pipelines, ValidatedPipeline } from './pipelines.ts';
export type { WatchOptions } from './resume.ts';
export {
  type AskerInput,
  type AssumedInput,
  type PlanInput,
  type RunFilterInput,
  type RunInput,
  type RunSource,
  type TriggerInput,
  isFinishedRun,
} from './run-input.ts';
export type { CreateOptions, DiffInput, RerunInput, RunDiff, Runs } from './runs.ts';
export type { AppliedSchedule, BackfillInput, ScheduleInput, Schedules } from './schedules.ts';
export { jsonOfValue, type ValueCondition, type Values } from './values.ts';
export type { Warning } from './warning.ts';
export type { RunsUpdate } from './watch.ts';

export type { Artifact, RunArtifact } from '@conveyor/protocol/conveyor/v1/artifact_pb.js';
export {
  type Blocker,
  type BlockerCaveat,
  BlockerCaveatKind,
  type BlockingJob,
  InstancesCause,
  type InstanceRequirement,
  JobStanding,
} from '@conveyor/protocol/conveyor/v1/blocker_pb.js';
export {
  type ConcurrencyGroup,
  type ConcurrencyGroupMember,
  ConcurrencyGroupMemberState,
} from '@conveyor/protocol/conveyor/v1/concurrency_group_pb.js';
export type { Demand } from '@conveyor/protocol/conveyor/v1/demand_pb.js';
export type { Queue, QueuePause } from '@conveyor/protocol/conveyor/v1/queue_pb.js';
export { type Driver, DriverState } from '@conveyor/protocol/conveyor/v1/driver_pb.js';
export type { Event } from '@conveyor/protocol/conveyor/v1/event_pb.js';
export {
  AnnotationLevel,
  type Attempt,
  AttemptState,
  type ConditionPart,
  type ExpressionFailure,
  type Failure,
  FailureClass,
  type GateAnswer,
  GateVerdict,
  type Job,
  type JobCondition,
  type JobRateLimit,
  JobState,
  type JobStop,
  type JobWait,
  LogState,
  ProgressPhase,
  StopCause,
  StopPhase,
  WaitReason,
} from '@conveyor/protocol/conveyor/v1/job_pb.js';
export type { ExplainJobResponse } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
export { type LogChunk, LogChannel, type LogSection, type LogSpan } from '@conveyor/protocol/conveyor/v1/log_pb.js';
export {
  ConcurrencyPolicy,
  type Gate,
  GateExpiry,
  type JobDefinition,
  LabelOperator,
  type LabelRule,
  type Matrix,
  type Pipeline,
  type PipelineCall,
  type PipelineDefinition,
  type PipelineRevision,
  RunCondition,
} from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
export type {
  DiffPipelineRevisionsResponse,
  FieldChange,
  JobDiff,
  PipelineDiff,
} from '@conveyor/protocol/conveyor/v1/pipeline_service_pb.js';
export { type AppendedJobs, type Run, RunState, type Trigger } from '@conveyor/protocol/conveyor/v1/run_pb.js';
export {
  type BatchCreateRunsResult,
  type Discrepancy,
  DiscrepancyKind,
  type JobChange,
  type JobPoint,
  JobPrediction,
  type PlannedGroup,
  type PlannedJob,
  type PlanRunResponse,
  type RunChange,
  type VerifyRunResponse,
} from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
export type { RunValue } from '@conveyor/protocol/conveyor/v1/run_value_pb.js';
export {
  type Schedule,
  ScheduleMissedPolicy,
  type ScheduleOccurrence,
  ScheduleOccurrenceOrigin,
  ScheduleOccurrenceState,
  ScheduleOverlapPolicy,
  ScheduleSkipReason,
  type ScheduleSpec,
} from '@conveyor/protocol/conveyor/v1/schedule_pb.js';
export type { GetServerInfoResponse, ServerLimits } from '@conveyor/protocol/conveyor/v1/server_service_pb.js';
