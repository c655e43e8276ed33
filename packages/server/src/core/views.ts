// What queries answer with: runs, jobs, attempts, pipelines and drivers as a reader sees them. Times are milliseconds since the
// Unix epoch, by the database's clock.
import type { Definition, JobDefinition } from './definition.ts';
import type { Annotation, Artifact, RunEvent, Trigger } from './events.ts';
import type { RunId } from './ids.ts';
import type { JsonObject, JsonValue } from './json.ts';
import type { ConditionTrace, ExpressionFailures, GateAnswer, HoldBack, JobWait, StopRequest } from './run-state.ts';
import type { AttemptState, Failure, JobState, RunState, ShownLogState } from './states.ts';

export type Labels = Readonly<Record<string, string>>;
/** Outputs of an attempt, by key. */
export type Outputs = Readonly<Record<string, JsonValue>>;

export interface Page<T> {
  readonly items: readonly T[];
  /** Undefined on the last page. */
  readonly next?: string;
}

export interface PipelineView {
  readonly project: string;
  readonly name: string;
  readonly revision: number;
  readonly definition?: Definition;
  readonly createdMs: number;
  readonly updatedMs: number;
}

export interface RevisionView {
  readonly project: string;
  readonly pipeline: string;
  readonly revision: number;
  readonly definition: Definition;
  /** 64 hexadecimal digits. */
  readonly digest: string;
  readonly createdMs: number;
}

export interface JobCounts {
  readonly total: number;
  readonly open: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly failureAllowed: number;
  readonly skipped: number;
  readonly cancelled: number;
}

export interface RunView {
  readonly runId: RunId;
  readonly project: string;
  readonly pipeline?: string;
  readonly revision?: number;
  readonly state: RunState;
  readonly params?: JsonObject;
  readonly labels: Labels;
  readonly trigger: Trigger;
  readonly counts: JobCounts;
  readonly seq: number;
  readonly rerunOf?: string;
  readonly cancelReason?: string;
  readonly pause?: HoldBack;
  readonly createdMs: number;
  readonly startedMs?: number;
  readonly finishedMs?: number;
  readonly definition?: Definition;
  /** What its jobs have appended, in order: known wherever the definition is. */
  readonly appended?: readonly AppendedView[];
}

/** Jobs that a job of a run appended at a time. */
export interface AppendedView {
  /** The job that did. */
  readonly job: number;
  readonly name: string;
  readonly jobs: readonly JobDefinition[];
}

export interface RunValueView {
  readonly project: string;
  readonly runId: RunId;
  readonly key: string;
  readonly value: JsonValue;
  readonly version: number;
  readonly updatedMs: number;
}

export interface RunArtifactView {
  readonly runId: RunId;
  readonly job: number;
  readonly jobName: string;
  readonly attempt: number;
  readonly number: number;
  readonly artifact: Artifact;
  readonly addedMs: number;
}

export interface ProgressView {
  readonly phase: 'UNSPECIFIED' | 'PREPARING' | 'RUNNING';
  readonly message: string;
  readonly fraction?: number;
}

/** Where a job stands. */
export interface JobPointView {
  readonly state: JobState;
  readonly attempt: number;
  /** Of a gate, with when its timeout ends it. */
  readonly wait?: JobWait & { readonly untilMs?: number };
  readonly hold?: HoldBack;
  readonly stop?: StopRequest;
  readonly failure?: Failure;
}

export interface JobView extends JobPointView {
  readonly project: string;
  readonly runId: RunId;
  readonly job: number;
  readonly name: string;
  readonly driver: string;
  readonly needs: readonly string[];
  readonly failureAllowed: boolean;
  readonly outputs?: Outputs;
  readonly progress?: ProgressView;
  readonly startedMs?: number;
  readonly finishedMs?: number;
  readonly definition?: JobDefinition;
  /** Its spec, or the params of its call, with the values of their expressions; known wherever the definition is. */
  readonly spec?: JsonObject;
  /** Of its newest attempt, the first of them. */
  readonly artifacts?: readonly Artifact[];
  readonly artifactCount?: number;
  readonly inheritedFrom?: string;
  readonly condition?: ConditionTrace;
  readonly expressionFailures?: ExpressionFailures;
  /** Of a cell of a matrix: the name of the matrix's job, and its values. */
  readonly cell?: { readonly of: string; readonly values: JsonObject };
  readonly answers?: readonly GateAnswer[];
  readonly childRun?: string;
  readonly cancelReason?: string;
  /** Its concurrency group, and how many jobs may hold a place of it by what the job states. */
  readonly group?: SharedLimit;
  readonly rates?: readonly SharedLimit[];
  /** Of a matrix whose cells are made: how many of them may be open at the same time. */
  readonly maxParallel?: number;
  readonly stage?: string;
}

/** What jobs share that wait for each other, and the limit that one of them states. */
export interface SharedLimit {
  readonly key: string;
  readonly limit: number;
}

export interface AttemptView {
  readonly project: string;
  readonly runId: RunId;
  readonly job: number;
  readonly attempt: number;
  readonly state: AttemptState;
  readonly instance: string;
  readonly failure?: Failure;
  readonly outputs?: Outputs;
  readonly logSize: number;
  readonly logState: ShownLogState;
  readonly progress?: ProgressView;
  readonly annotations: readonly Annotation[];
  /** The first of them. */
  readonly artifacts: readonly Artifact[];
  readonly artifactCount: number;
  readonly offeredMs: number;
  readonly startedMs?: number;
  readonly finishedMs?: number;
}

export interface AddedJobView {
  readonly job: number;
  readonly name: string;
  /** Of a cell. */
  readonly values?: JsonObject;
}

/** What became of a run from one event to another. */
export interface RunDiffView {
  /** As it was right after the events; without params and definition. */
  readonly before: RunView;
  readonly after: RunView;
  /** On all pages together. */
  readonly changedJobs: number;
  readonly jobs: Page<JobChangeView>;
}

/** A job that two points of its run show differently. */
export interface JobChangeView {
  readonly runId: RunId;
  readonly job: number;
  readonly name: string;
  /** Undefined: there was no such job yet. */
  readonly before?: JobPointView;
  readonly after: JobPointView;
  /** Which fields of Job differ, and `annotations` when those of its attempts do; none when there was no such job yet. */
  readonly changedFields: readonly string[];
}

export interface EventView {
  readonly runId: RunId;
  readonly seq: number;
  readonly timeMs: number;
  readonly runState: RunState;
  /** The jobs that it added; only on JobsAdded. */
  readonly added?: readonly AddedJobView[];
  /** The job's name and state after the event; only on events about a job. */
  readonly jobName?: string;
  readonly jobState?: JobState;
  readonly event: RunEvent;
}

export interface DriverView {
  readonly name: string;
  readonly instance: string;
  readonly state: 'READY' | 'DRAINING' | 'GONE';
  readonly labels: Labels;
  readonly slots: number;
  readonly pools: Readonly<Record<string, number>>;
  readonly held: number;
  readonly epoch: number;
  readonly version: string;
  readonly specSchema?: JsonObject;
  readonly createdMs: number;
  readonly connectedMs: number;
  readonly heartbeatMs: number;
}

/** A pause of the queue of a driver name. An empty project or pipeline stands for all. */
export interface QueuePause {
  readonly driver: string;
  readonly project: string;
  readonly pipeline: string;
  readonly actor: string;
  readonly reason: string;
  readonly sinceMs: number;
}

export interface QueueView {
  readonly driver: string;
  /** Counted up to a bound. */
  readonly queued: number;
  readonly pauses: readonly QueuePause[];
}

export type LogChannel = 'STDOUT' | 'STDERR' | 'DRIVER';

export interface LogSpan {
  readonly length: number;
  readonly channel: LogChannel;
  readonly unixMs: number;
}

export interface LogChunk {
  readonly offset: number;
  readonly data: Uint8Array;
  readonly spans: readonly LogSpan[];
}

export interface LogSection {
  readonly offset: number;
  readonly name: string;
  readonly end: boolean;
}

/** One read of an attempt's log. */
export interface LogPart {
  readonly attempt: number;
  readonly chunks: readonly LogChunk[];
  readonly sections: readonly LogSection[];
  readonly nextOffset: number;
  readonly logSize: number;
  readonly logState: ShownLogState;
}
