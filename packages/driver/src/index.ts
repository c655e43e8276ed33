// The driver runtime: define a driver, start it, and write nothing of the protocol.
export { AppendError, type AppendReason, type AppendViolation, type JobInit } from './append.ts';
export type { JobArtifact } from './artifact.ts';
export type { JsonObject, JsonValue } from '@bufbuild/protobuf';
export type { TlsOptions } from './connection.ts';
export { defineDriver, type DriverDefinition, type DriverSettings } from './define-driver.ts';
export type { RunningDriver, StartOptions } from './instance.ts';
export type { AnnotationOptions, JobContext, JobIdentity, JobProgress, NeededJob } from './job-context.ts';
export {
  JobFailure,
  type JobFailureClass,
  type JobFailureDetails,
  JobStopped,
  type StopCause,
} from './job-failure.ts';
export type { JobLog, LogOptions, LogSectionHandle, LogSource } from './job-log.ts';
export type { Logger } from './logger.ts';
export { GateExpiry, LeaseDoubt, RunCondition } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
export { runDriver } from './process.ts';
export { RunValueError, type RunValue, type RunValueReason, type RunValues, type ValueOptions } from './run-values.ts';
