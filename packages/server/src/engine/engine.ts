// The engine as api sees it: every operation of the control plane on plain values. Operations reject with RefusedError for
// expected refusals; anything else that they throw is a defect or an outage.
import type { Assumptions } from '../core/assumptions.ts';
import type { JobExplanation } from '../core/blockers.ts';
import type { Asker } from '../core/commands.ts';
import type { Definition } from '../core/definition.ts';
import type { Trigger } from '../core/events.ts';
import type { JobKey, RunId } from '../core/ids.ts';
import type { GroupView, MemberView } from '../core/group.ts';
import type { JsonObject, JsonValue } from '../core/json.ts';
import type { Timing } from '../core/limits.ts';
import type { Verification } from '../core/ledger-check.ts';
import type { FieldViolation, Refusal, Warning } from '../core/refusal.ts';
import type { RunPlanView } from '../core/run-plan.ts';
import type { GateAnswer } from '../core/run-state.ts';
import type { OccurrenceView, ScheduleSpec, ScheduleView } from '../core/schedule.ts';
import type { JobState, RunState } from '../core/states.ts';
import type {
  AttemptView,
  EventView,
  JobView,
  Labels,
  LogPart,
  Page,
  PipelineView,
  RevisionView,
  RunDiffView,
  RunArtifactView,
  RunValueView,
  RunView,
} from '../core/views.ts';
import type { DriverOperations } from './driver-operations.ts';

/** Who calls, as authentication found out. */
export interface Principal {
  readonly role: 'operator' | 'driver';
  /** Names the token or user in logs and for the ownership of driver instances; never the secret itself. */
  readonly id: string;
  /** Driver names that a driver may serve; undefined: all. */
  readonly driverNames?: readonly string[];
}

export interface PageRequest {
  readonly size: number;
  /** `next` of the page before, as api handed it out. */
  readonly after?: string;
}

export interface RunSource {
  readonly pipeline?: { readonly name: string; readonly revision?: number };
  /** Checked by checkDefinition already. */
  readonly definition?: Definition;
}

export interface NewRun extends RunSource {
  readonly params: JsonObject;
  readonly labels: Labels;
  readonly trigger: Trigger;
  /** When its first jobs may start. */
  readonly startMs?: number;
  readonly requestId?: string;
  /** W3C traceparent of the call. */
  readonly traceparent?: string;
}

/** Which jobs run again: all, those that failed or were cancelled, or those named; and all that depend on them. */
export type RerunSource = 'ALL' | 'FAILED' | { readonly from: readonly string[] };

export interface RunFilter {
  readonly pipeline?: string;
  readonly states: readonly RunState[];
  readonly labels: Labels;
}

export interface RunChanges {
  readonly changes: readonly { readonly run: RunView; readonly left: boolean }[];
  readonly cursor?: string;
  readonly snapshotComplete: boolean;
}

export interface PipelineOperations {
  apply(
    project: string,
    name: string,
    definition: Definition,
    expectedRevision?: number,
  ): Promise<{ pipeline: PipelineView; changed: boolean; warnings: readonly Warning[] }>;
  /** Checks everything that an apply would, and writes nothing. Refuses what was found wrong already together with what it finds. */
  validate(
    project: string,
    name: string,
    definition: Definition,
    options: { readonly expectedRevision: number | undefined; readonly found: readonly FieldViolation[] },
  ): Promise<{ newest: PipelineView | undefined; changed: boolean; warnings: readonly Warning[] }>;
  get(project: string, name: string, revision?: number): Promise<PipelineView>;
  /** Two revisions to compare; without `to`, the newest. */
  getTwo(project: string, name: string, from: number, to?: number): Promise<{ from: PipelineView; to: PipelineView }>;
  list(project: string, page: PageRequest): Promise<Page<PipelineView>>;
  listRevisions(project: string, name: string, page: PageRequest): Promise<Page<RevisionView>>;
  delete(project: string, name: string): Promise<void>;
}

export interface BackfillRequest {
  /** The range, with its begin and without its end. */
  readonly fromMs: number;
  readonly untilMs: number;
  /** How many of its runs are open at a time. */
  readonly parallel: number;
  readonly requestId?: string;
}

export interface ScheduleOperations {
  /** @param paused Undefined: as it is. */
  apply(
    project: string,
    name: string,
    spec: ScheduleSpec,
    paused?: boolean,
  ): Promise<{ schedule: ScheduleView; changed: boolean; warnings: readonly string[] }>;
  /**
   * Checks everything that an apply would, and writes nothing. Refuses what was found wrong already together with what it finds.
   * Returns what could not be checked, for people.
   */
  validate(
    project: string,
    name: string,
    spec: ScheduleSpec,
    found: readonly FieldViolation[],
  ): Promise<readonly string[]>;
  get(project: string, name: string): Promise<ScheduleView>;
  list(project: string, page: PageRequest): Promise<Page<ScheduleView>>;
  delete(project: string, name: string): Promise<void>;
  pause(project: string, name: string, reason: string): Promise<ScheduleView>;
  resume(project: string, name: string): Promise<ScheduleView>;
  /** Makes an occurrence now, and answers when it is decided on. */
  trigger(project: string, name: string, requestId?: string): Promise<OccurrenceView>;
  /** Returns how many occurrences it queued. */
  backfill(project: string, name: string, request: BackfillRequest): Promise<number>;
  /** The next times, as many as asked for, and a page of what became of earlier ones, newest first. */
  occurrences(
    project: string,
    name: string,
    upcoming: number,
    page: PageRequest,
  ): Promise<{ upcoming: readonly number[]; past: Page<OccurrenceView> }>;
}

/** A run as a request to create it is answered. */
export interface MadeRun extends RunView {
  /** What could not be checked; empty when an earlier request created it. */
  readonly warnings: readonly Warning[];
}

export interface RunOperations {
  create(project: string, run: NewRun): Promise<MadeRun>;
  /** What it would do; nothing is written. */
  plan(project: string, run: NewRun, assumed: Assumptions, signal: AbortSignal): Promise<RunPlanView>;
  /** One outcome an item, in order. */
  createBatch(project: string, runs: readonly NewRun[]): Promise<readonly (RunId | Refusal)[]>;
  get(project: string, runId: RunId): Promise<RunView>;
  /** As it was right after one of its events. */
  getAt(project: string, runId: RunId, seq: number, signal: AbortSignal): Promise<RunView>;
  list(project: string, filter: RunFilter, page: PageRequest): Promise<Page<RunView>>;
  /** @param toSeq Undefined: the newest event. Pages go on with the same. */
  diff(
    project: string,
    runId: RunId,
    fromSeq: number,
    toSeq: number | undefined,
    page: PageRequest,
    signal: AbortSignal,
  ): Promise<RunDiffView>;
  cancel(project: string, runId: RunId, reason: string, force: boolean): Promise<RunView>;
  pause(project: string, runId: RunId, asker: Asker): Promise<RunView>;
  resume(project: string, runId: RunId, asker: Asker): Promise<RunView>;
  /** Deletes a finished run: nobody reads anything of it from now on. */
  delete(project: string, runId: RunId): Promise<void>;
  /** Compares the rows of a run with its ledger, and its stored logs with what their attempts count. */
  verify(project: string, runId: RunId, skipLogs: boolean, signal: AbortSignal): Promise<Verification>;
  /** @param job Only those of the job with this name. */
  artifacts(project: string, runId: RunId, job: string | undefined, page: PageRequest): Promise<Page<RunArtifactView>>;
  rerun(project: string, runId: RunId, scope: RerunSource, trigger: Trigger, requestId?: string): Promise<RunView>;
  /** Yields batches of events with seq > afterSeq; an empty batch at once and then at least every 20 s; ends after the last event. */
  watch(project: string, runId: RunId, afterSeq: number, signal: AbortSignal): AsyncIterable<readonly EventView[]>;
  /** Never ends by itself; yields at least every 20 s. */
  watchAll(
    project: string,
    filter: RunFilter,
    cursor: string | undefined,
    signal: AbortSignal,
  ): AsyncIterable<RunChanges>;
}

/** What somebody answers to a gate, and the groups that they belong to. */
export type GateReply = Omit<GateAnswer, 'timeMs'> & { readonly groups: readonly string[] };

export interface RunValueOperations {
  /** @param expectedVersion 0: there must be none; undefined: whatever there is. Returns the version that it has then. */
  set(project: string, runId: RunId, key: string, value: JsonValue, expectedVersion?: number): Promise<number>;
  get(project: string, runId: RunId, key: string): Promise<RunValueView>;
  list(project: string, runId: RunId, prefix: string, page: PageRequest): Promise<Page<RunValueView>>;
  delete(project: string, runId: RunId, key: string, expectedVersion?: number): Promise<void>;
}

export interface JobOperations {
  get(project: string, job: JobKey): Promise<JobView>;
  /** As it was right after an event of its run. */
  getAt(project: string, job: JobKey, seq: number, signal: AbortSignal): Promise<JobView>;
  /** Why it does not start, as of one moment. */
  explain(project: string, job: JobKey): Promise<JobExplanation>;
  list(
    project: string,
    runId: RunId,
    states: readonly JobState[],
    names: readonly string[],
    page: PageRequest,
  ): Promise<Page<JobView>>;
  listAt(
    project: string,
    runId: RunId,
    seq: number,
    states: readonly JobState[],
    names: readonly string[],
    page: PageRequest,
    signal: AbortSignal,
  ): Promise<Page<JobView>>;
  cancel(project: string, job: JobKey, reason: string): Promise<JobView>;
  hold(project: string, job: JobKey, asker: Asker): Promise<JobView>;
  release(project: string, job: JobKey, asker: Asker): Promise<JobView>;
  answerGate(project: string, job: JobKey, answer: GateReply): Promise<JobView>;
  retry(project: string, job: JobKey, trigger: Trigger, requestId?: string): Promise<JobView>;
  listAttempts(project: string, job: JobKey, page: PageRequest): Promise<Page<AttemptView>>;
  listAttemptsAt(
    project: string,
    job: JobKey,
    seq: number,
    page: PageRequest,
    signal: AbortSignal,
  ): Promise<Page<AttemptView>>;
  readLog(
    project: string,
    job: JobKey,
    attempt: number | undefined,
    offset: number,
    maxBytes: number,
  ): Promise<LogPart>;
  /** Yields an empty part at once, then at least every 20 s; ends after the part whose logState is not OPEN. */
  tailLog(
    project: string,
    job: JobKey,
    attempt: number | undefined,
    offset: number,
    signal: AbortSignal,
  ): AsyncIterable<LogPart>;
}

export interface GroupOperations {
  /** Groups that have members, by key. */
  list(project: string, page: PageRequest): Promise<Page<GroupView>>;
  /** A group with a page of its members: those that hold places, then those that wait. */
  get(
    project: string,
    key: string,
    page: PageRequest,
  ): Promise<{ readonly group: GroupView; readonly members: Page<MemberView> }>;
}

export interface Engine {
  readonly pipelines: PipelineOperations;
  readonly runs: RunOperations;
  readonly jobs: JobOperations;
  readonly groups: GroupOperations;
  readonly drivers: DriverOperations;
  readonly schedules: ScheduleOperations;
  readonly values: RunValueOperations;
  /** The id of this replica; new with each start. */
  readonly replica: string;
  readonly timing: Timing;
  /** The largest log of an attempt, in bytes. */
  readonly maxLogBytes: number;
  /** Finds who holds a bearer token; undefined when nobody does. Cached for a few seconds. */
  authenticateToken(token: string): Promise<Principal | undefined>;
  /** True while the database answers and the engine is not stopping. */
  ready(): boolean;
  /** First step of a graceful stop: tells drivers to go elsewhere and ends their sessions with SERVER_STOPPING. */
  drainSessions(signal: AbortSignal): Promise<void>;
}
