// Rebuilds a run from its ledger, one event after the other, as it was right after any of them. What it keeps besides the run is small,
// however much the events hold: of outputs only where they are.
import { ByIndex } from './by-index.ts';
import { jsonBytes } from './check-fields.ts';
import type { RunEvent } from './events.ts';
import { beforeFirstEvent, evolve } from './evolve.ts';
import type { Evolving } from './evolving.ts';
import { LIMITS } from './limits.ts';
import type { Plan } from './plan.ts';
import type { RunSlice } from './run-state.ts';

/** An event of a ledger. */
export interface LedgerEntry {
  readonly seq: number;
  readonly timeMs: number;
  readonly event: RunEvent;
}

/** Which event holds the outputs of an attempt, and how large they are as JSON. */
export interface OutputsPlace {
  readonly seq: number;
  readonly bytes: number;
}

/** Which events hold what an attempt has told beside its outputs. */
export interface ToldPlaces {
  /** Of its artifacts, the first of them. */
  readonly artifacts: readonly number[];
  readonly artifactCount: number;
  /** Of its newest annotation. */
  readonly annotation?: number;
}

/** A whole run as it was right after an event. It never changes. */
export interface RunPoint extends RunSlice {
  /** Of jobs whose newest attempt has ended with outputs. */
  readonly outputs: ReadonlyMap<number, OutputsPlace>;
  /** Of jobs whose newest attempt has artifacts or annotations. */
  readonly told: ReadonlyMap<number, ToldPlaces>;
}

export interface Replay {
  /** The run after the events so far; it changes with each. */
  readonly slice: RunSlice;
  /** Takes the next event. @throws Error when it cannot follow the ones before; nothing can be taken after that. */
  take(entry: LedgerEntry): void;
  /** The run as it is now. Points of one replay share what did not change between them. */
  point(): RunPoint;
}

/** Where the replay of a ledger begins: before its first event. */
export function startPoint(plan: Plan): RunPoint {
  return { ...beforeFirstEvent(plan), outputs: new Map(), told: new Map() };
}

/** @param from Where to go on. */
export function createReplay(from: RunPoint): Replay {
  const slice: Evolving = { plan: from.plan, run: from.run, jobs: ByIndex.from(from.jobs) };
  const outputs = new Map(from.outputs);
  const told = new Map(from.told);
  return {
    slice,
    take({ seq, timeMs, event }) {
      evolve(slice, event, timeMs);
      if (event.type === 'AttemptOffered') {
        outputs.delete(event.job);
        told.delete(event.job);
      } else if (event.type === 'AttemptEnded' && event.outputs !== undefined) {
        outputs.set(event.job, { seq, bytes: jsonBytes(event.outputs) });
      } else if (event.type === 'AttemptArtifact') {
        told.set(event.job, withArtifact(told.get(event.job), seq));
      } else if (event.type === 'AttemptAnnotated') {
        told.set(event.job, { ...(told.get(event.job) ?? NOTHING_TOLD), annotation: seq });
      }
    },
    point: () => ({
      plan: slice.plan,
      run: slice.run,
      jobs: ByIndex.from(slice.jobs),
      outputs: new Map(outputs),
      told: new Map(told),
    }),
  };
}

const NOTHING_TOLD: ToldPlaces = { artifacts: [], artifactCount: 0 };

function withArtifact(before: ToldPlaces = NOTHING_TOLD, seq: number): ToldPlaces {
  const { artifacts, artifactCount } = before;
  const isShown = artifactCount < LIMITS.shownArtifacts;
  return { ...before, artifacts: isShown ? [...artifacts, seq] : artifacts, artifactCount: artifactCount + 1 };
}
