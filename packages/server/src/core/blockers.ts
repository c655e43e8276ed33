// What keeps a job from starting, piece by piece: each has to go for the job to start, and each goes by a means of its own.
import type { GateExpiry, LabelRule } from './definition.ts';
import type { JobKey, RunId } from './ids.ts';
import type { HoldBack } from './run-state.ts';
import type { JobState, RunState } from './states.ts';
import type { QueuePause } from './views.ts';

/** A job of the same run. */
export interface NamedJob extends JobKey {
  readonly name: string;
  readonly state: JobState;
}

/** What an instance has to have, and how many of those that are connected have it. */
export interface Requirement {
  /** What a label has to be; a pool by its name; that its schema takes the spec. */
  readonly needed: LabelRule | { readonly pool: string } | 'SPEC';
  readonly instances: number;
}

/** How far the instance gets that is nearest to taking a job. */
export type InstanceCause = 'NONE_CONNECTED' | 'NONE_FITS' | 'DRAINING' | 'FULL' | 'PASSED_OVER';

export interface InstancesBlocker {
  readonly kind: 'INSTANCES';
  readonly driver: string;
  readonly cause: InstanceCause;
  readonly connected: number;
  readonly requirements: readonly Requirement[];
  /** Those that have all of it; of these, those that drain, that have no free slot else, and that pass the job over else. */
  readonly fitting: number;
  readonly draining: number;
  readonly full: number;
  readonly passedOver: number;
  /** Of those that fit and do not drain. */
  readonly slots: number;
  readonly freeSlots: number;
  /** When the first of them is offered the job again; only of PASSED_OVER. */
  readonly untilMs?: number;
  /** Of FULL: queued jobs of the same pipeline that the same instances may take and that come first, counted up to a bound. */
  readonly ahead: number;
}

export type Blocker =
  /** Its run, or its next attempt, is to start later. */
  | { readonly kind: 'DELAY' | 'BACKOFF'; readonly untilMs: number }
  | { readonly kind: 'RUN_PAUSED'; readonly pause: HoldBack }
  /** It is held, or the job of the matrix that it is a cell of. */
  | { readonly kind: 'HELD'; readonly job: JobKey; readonly ofMatrix: boolean; readonly hold: HoldBack }
  /** Of all that are open, the first. */
  | { readonly kind: 'NEEDS'; readonly open: number; readonly jobs: readonly NamedJob[] }
  /** The matrix that it is a cell of lets so many cells go on at a time. */
  | {
      readonly kind: 'MATRIX';
      readonly job: JobKey;
      readonly name: string;
      readonly limit: number;
      readonly underWay: number;
      readonly jobs: readonly NamedJob[];
      readonly ahead: number;
    }
  | {
      readonly kind: 'GATE';
      readonly approved: number;
      readonly quorum: number;
      /** Empty: anybody. */
      readonly approvers: readonly string[];
      readonly untilMs?: number;
      readonly onTimeout: GateExpiry;
    }
  /** It is a matrix, and waits for its cells. */
  | { readonly kind: 'CELLS'; readonly open: number; readonly jobs: readonly NamedJob[] }
  /** It is a call. Without a run: that is about to be made. */
  | {
      readonly kind: 'CHILD_RUN';
      readonly pipeline: string;
      readonly run?: { readonly runId: RunId; readonly state: RunState };
    }
  | {
      readonly kind: 'GROUP';
      readonly key: string;
      readonly limit: number;
      /** How many hold a place; the first of those that have to leave one. */
      readonly holding: number;
      readonly holders: readonly JobKey[];
      /** How many come first in its line. */
      readonly ahead: number;
    }
  | {
      readonly kind: 'RATE';
      readonly key: string;
      readonly cost: number;
      readonly expectedMs: number;
      readonly ahead: number;
    }
  | { readonly kind: 'QUEUE_PAUSED'; readonly pause: QueuePause }
  | InstancesBlocker
  /** It was offered, and starts when that is accepted. */
  | { readonly kind: 'OFFER'; readonly instance: string; readonly sinceMs: number; readonly untilMs: number };

/**
 * What may still keep a job from starting once nothing blocks it, or have it start sooner: nobody can take it away.
 * CONDITION: its condition is not worked out yet. OUTCOMES: by how its needs ended so far, it is not to run. KEYS: its group or rate
 * limits are not known yet. SPEC: its spec is not known yet, and the instances differ in what they take. REFUSED: it fails rather than
 * waits for a place in its group. POOL: too many attempts are under way to see who holds slots of its pool.
 */
export type Caveat = 'CONDITION' | 'OUTCOMES' | 'KEYS' | 'SPEC' | 'REFUSED' | 'POOL';

/**
 * What is to be said of a job at large. STARTING: nothing blocks it, it starts at any moment. BEGUN: no driver runs it, and what is told
 * is what its end waits for.
 */
export type Standing = 'BLOCKED' | 'STARTING' | 'BEGUN' | 'RUNNING' | 'STOPPING' | 'FINISHED';

export interface Explanation {
  readonly standing: Standing;
  readonly blockers: readonly Blocker[];
  readonly caveats: readonly Caveat[];
}

/** What is answered: as of which moment, and in which state the job was then. */
export interface JobExplanation extends Explanation {
  readonly state: JobState;
  readonly atMs: number;
  /** The newest event of its run. */
  readonly seq: number;
}
