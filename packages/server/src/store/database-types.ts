// The tables as kysely sees them: the columns that queries off the hot path read or write. The migrations own their shape.
import type { ColumnType, Generated } from 'kysely';
import type { Definition } from '../core/definition.ts';
import type { Annotation, Artifact, Trigger } from '../core/events.ts';
import type { RunId } from '../core/ids.ts';
import type { JsonObject, JsonValue } from '../core/json.ts';
import type { HoldBack, JobDetails, JobWait, StopRequest } from '../core/run-state.ts';
import type {
  OccurrenceFailure,
  OccurrenceOrigin,
  OccurrenceState,
  ScheduleSpec,
  SkipReason,
} from '../core/schedule.ts';
import type { AttemptState, Failure, JobState, LogState, RunState } from '../core/states.ts';
import type { Labels, Outputs, ProgressView } from '../core/views.ts';

export interface Tables {
  definitions: DefinitionsTable;
  pipelines: PipelinesTable;
  pipeline_revisions: PipelineRevisionsTable;
  runs: RunsTable;
  jobs: JobsTable;
  attempts: AttemptsTable;
  instances: InstancesTable;
  leases: LeasesTable;
  spec_schemas: SpecSchemasTable;
  tokens: TokensTable;
  schedules: SchedulesTable;
  occurrences: OccurrencesTable;
  run_values: RunValuesTable;
  artifacts: ArtifactsTable;
}

/** A column that only the hot path writes. */
type Read<T> = ColumnType<T, never, never>;

interface DefinitionsTable {
  digest: Read<Buffer>;
  body: Read<Definition>;
}

interface PipelinesTable {
  project: string;
  name: string;
  revision: number;
  created_ms: number;
  updated_ms: number;
  deleted_ms: number | null;
  pruned: Generated<boolean>;
}

interface PipelineRevisionsTable {
  project: string;
  pipeline: string;
  revision: number;
  digest: Buffer;
  created_ms: number;
}

interface RunsTable {
  run_id: Read<RunId>;
  project: Read<string>;
  pipeline: Read<string | null>;
  revision: Read<number | null>;
  digest: Read<Buffer>;
  state: Read<RunState>;
  seq: Read<number>;
  total: Read<number>;
  open: Read<number>;
  succeeded: Read<number>;
  failed: Read<number>;
  failure_allowed: Read<number>;
  skipped: Read<number>;
  cancelled: Read<number>;
  params: Read<JsonObject>;
  labels: Read<Labels>;
  trigger: Read<Trigger>;
  cancel: Read<{ reason: string } | null>;
  pause: Read<HoldBack | null>;
  rerun_of: Read<RunId | null>;
  created_ms: Read<number>;
  started_ms: Read<number | null>;
  finished_ms: Read<number | null>;
}

interface JobsTable {
  run_id: Read<RunId>;
  job: Read<number>;
  state: Read<JobState>;
  attempt: Read<number>;
  started_ms: Read<number | null>;
  finished_ms: Read<number | null>;
  wait: Read<JobWait | null>;
  hold: Read<HoldBack | null>;
  stop: Read<StopRequest | null>;
  failure: Read<Failure | null>;
  failure_allowed: Read<boolean>;
  inherited_from: Read<string | null>;
  inherited_outputs: Read<Outputs | null>;
  details: Read<JobDetails | null>;
}

interface AttemptsTable {
  run_id: Read<RunId>;
  job: Read<number>;
  attempt: Read<number>;
  instance_no: Read<number>;
  state: Read<AttemptState>;
  offered_ms: Read<number>;
  started_ms: Read<number | null>;
  finished_ms: Read<number | null>;
  failure: Read<Failure | null>;
  log_size: Read<number>;
  log_state: Read<LogState>;
  outputs: Read<Outputs | null>;
  progress: Read<ProgressView | null>;
  annotations: Read<Annotation[] | null>;
  artifacts: Read<number>;
}

interface InstancesTable {
  no: Read<number>;
  driver: Read<string>;
  instance: Read<string>;
  epoch: Read<number>;
  labels: Read<Labels>;
  slots: Read<number>;
  pools: Read<Readonly<Record<string, number>>>;
  version: Read<string>;
  schema_digest: Read<Buffer | null>;
  draining: Read<boolean>;
  created_ms: Read<number>;
  connected_ms: Read<number>;
}

interface LeasesTable {
  instance_no: Read<number>;
  seen_ms: Read<number>;
  expires_ms: Read<number>;
}

interface SpecSchemasTable {
  driver: Read<string>;
  digest: Read<Buffer>;
  body: Read<JsonObject>;
}

interface TokensTable {
  digest: Buffer;
  id: string;
  role: 'operator' | 'driver';
  driver_names: string[] | null;
  created_ms: number;
}

/** A column that is written as JSON text. */
type Json<T> = ColumnType<T, string, string>;

interface SchedulesTable {
  schedule_id: string;
  project: string;
  name: string;
  spec: Json<ScheduleSpec>;
  definition: ColumnType<Definition | null, string | null, string | null>;
  paused_ms: number | null;
  pause_reason: string;
  cursor_ms: number;
  due_ms: number | null;
  created_ms: number;
  updated_ms: number;
}

interface ArtifactsTable {
  run_id: Read<RunId>;
  job: Read<number>;
  attempt: Read<number>;
  number: Read<number>;
  artifact: Read<Artifact>;
  added_ms: Read<number>;
}

interface RunValuesTable {
  run_id: Read<RunId>;
  key: Read<string>;
  value: Read<JsonValue>;
  bytes: Read<number>;
  version: Read<number>;
  updated_ms: Read<number>;
}

interface OccurrencesTable {
  schedule_id: Read<string>;
  at_ms: Read<number>;
  state: Read<OccurrenceState>;
  origin: Read<OccurrenceOrigin>;
  run_id: Read<RunId | null>;
  skip: Read<SkipReason | null>;
  failure: Read<OccurrenceFailure | null>;
  asked_by: Read<string | null>;
  decided_ms: Read<number>;
}
