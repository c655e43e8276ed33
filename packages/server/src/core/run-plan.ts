// A plan of a run, as readers see it.
import type { CriticalPath } from './critical-path.ts';
import type { Plan } from './plan.ts';
import type { JobPrediction } from './prediction.ts';
import type { FinishedRunState } from './states.ts';

export interface RunPlanView {
  readonly pipeline?: { readonly name: string; readonly revision: number };
  /** Undefined: it cannot be known. */
  readonly state?: FinishedRunState;
  readonly plan: Plan;
  readonly jobs: readonly PlannedJobView[];
  readonly drivers: readonly DriverReadiness[];
  readonly path: CriticalPath;
  /** How long jobs took before, in milliseconds, by name. */
  readonly durations: ReadonlyMap<string, number>;
  /** For people. */
  readonly warnings: readonly string[];
}

export interface PlannedJobView extends JobPrediction {
  /** How many instances would take it now; undefined: no driver is to run it. */
  readonly readyInstances?: number;
  /** What its concurrency group is like now. */
  readonly groupNow?: GroupNow;
}

export interface GroupNow {
  readonly holding: number;
  readonly waiting: number;
  readonly isFull: boolean;
}

/** A driver as it is now, and how many jobs of the plan ask for it. */
export interface DriverReadiness {
  readonly name: string;
  readonly connected: number;
  readonly ready: number;
  readonly freeSlots: number;
  readonly jobs: number;
}
