// A schedule and its occurrences as core knows them: every default filled in, times in milliseconds. How a schedule may be written is in
// check-schedule.ts; what its occurrences become is decided in decide-schedule.ts.
import type { Definition } from './definition.ts';
import type { RunId } from './ids.ts';
import type { JsonObject } from './json.ts';
import type { RefusalReason } from './refusal.ts';
import type { ScheduleTiming } from './timetable.ts';

export type OverlapPolicy = 'ALLOW' | 'SKIP' | 'QUEUE_ONE' | 'CANCEL_RUNNING';
export type MissedPolicy = 'SKIP' | 'RUN_ONCE' | 'RUN_ALL';

/** What becomes of occurrences when something is in their way. */
export interface SchedulePolicies {
  readonly overlap: OverlapPolicy;
  readonly missed: MissedPolicy;
  /** How long after its time a missed occurrence may run. */
  readonly catchUpMs: number;
  /** How many missed occurrences RUN_ALL runs at most. */
  readonly maxCatchUp: number;
  /** Whether what passes during a pause was missed. */
  readonly pausedIsMissed: boolean;
}

/** What each occurrence runs: a pipeline or a definition of its own. */
export interface ScheduledRun {
  readonly pipeline?: { readonly name: string; readonly revision?: number };
  readonly definition?: Definition;
  readonly params: JsonObject;
  readonly labels: Readonly<Record<string, string>>;
}

export interface ScheduleSpec extends ScheduleTiming, SchedulePolicies {
  readonly run: ScheduledRun;
}

/** The label of every run of a schedule: its name. */
export const SCHEDULE_LABEL = 'conveyor.dev/schedule';

/** What an occurrence came from. */
export type OccurrenceOrigin = 'TIME' | 'TRIGGER' | 'BACKFILL';
export type OccurrenceState = 'QUEUED' | 'STARTING' | 'STARTED' | 'SKIPPED' | 'FAILED';
export type SkipReason = 'OVERLAP' | 'MISSED' | 'SUPERSEDED' | 'LIMIT';

/** Why an occurrence made no run: the reason that creating one was refused for, or a defect. */
export interface OccurrenceFailure {
  readonly reason: RefusalReason | 'INTERNAL';
  readonly message: string;
}

export interface ScheduleView {
  readonly project: string;
  readonly name: string;
  /** Without its definition in lists. */
  readonly spec: ScheduleSpec;
  readonly paused?: { readonly reason: string; readonly sinceMs: number };
  /** Undefined while it is paused, and when there is none any more. */
  readonly nextMs?: number;
  readonly createdMs: number;
  readonly updatedMs: number;
}

export interface OccurrenceView {
  readonly atMs: number;
  readonly state: OccurrenceState;
  readonly origin: OccurrenceOrigin;
  readonly runId?: RunId;
  readonly skip?: SkipReason;
  readonly failure?: OccurrenceFailure;
  readonly decidedMs: number;
}
