// What a fault is to the suite: how its scene is set, what happens there, and what it has to prove.
import type { Stage } from './stage.ts';
import type { StageOptions } from './stage-options.ts';

export interface Struck {
  /** How often the fault happened, by a count of what it did and not of what it tried. A fault that did not happen fails. */
  readonly fired: number;
  /** From its end until what it had broken worked again; undefined where nothing was broken. */
  readonly recoveryMs?: number;
  /** What was promised beyond the invariants, and not kept. */
  readonly complaints?: readonly string[];
  /** Why it could not be brought about here: it then counts neither as passed nor as failed. */
  readonly notRun?: string;
}

export interface Fault {
  /** In kebab-case, for `--only`. */
  readonly name: string;
  readonly says: string;
  readonly scene?: Partial<StageOptions>;
  /** Brings it about while the load goes on, sees to its end, and measures. */
  strike(stage: Stage): Promise<Struck>;
}
