// What is known of a job that is to be explained, all of it as of one moment.
import type { NamedJob } from './blockers.ts';
import type { DriverFacts } from './explain-instances.ts';
import type { GroupState, MemberView } from './group.ts';
import type { RunId } from './ids.ts';
import type { Plan } from './plan.ts';
import type { RateState } from './rate.ts';
import type { HoldBack, JobRecord, RunHeader } from './run-state.ts';
import type { Shares } from './shares.ts';
import type { RunState } from './states.ts';
import type { QueuePause } from './views.ts';

export interface ExplainFacts {
  readonly nowMs: number;
  readonly runId: RunId;
  readonly plan: Plan;
  readonly run: RunHeader;
  readonly index: number;
  readonly job: JobRecord;
  /** The first of the jobs that it needs and that have not finished. */
  readonly openNeeds: readonly NamedJob[];
  /** Of a matrix and of a cell: every cell of the matrix that has not finished. */
  readonly openCells: readonly NamedJob[];
  /** Of a cell: set while the job of its matrix is held. */
  readonly matrixHold?: HoldBack;
  /** The run that it made. */
  readonly child?: { readonly runId: RunId; readonly state: RunState };
  /** The attempt that is offered. */
  readonly offer?: { readonly instance: string; readonly offeredMs: number };
  /** The pauses of queues that concern it. */
  readonly pauses: readonly QueuePause[];
  /** Undefined: the keys and limits of what it shares are not known yet. */
  readonly shares: Shares | undefined;
  readonly group?: GroupFacts;
  readonly rates: readonly RateFacts[];
  /** Undefined: no driver runs it. */
  readonly driver?: DriverFacts;
}

export interface GroupFacts {
  readonly key: string;
  readonly state: GroupState;
  /** Those that hold a place, in order; the first of them when there are very many. */
  readonly holders: readonly MemberView[];
}

export interface RateFacts {
  readonly key: string;
  readonly state: RateState;
  readonly cost: number;
  readonly costMs: number;
  readonly periodMs: number;
}
