// What clients asked, what they were told, and what watchers saw, in the order in which it was told. What a broken call did is
// unknown, and is never guessed.
import { ConveyorError, type Run, RunState } from '@conveyor/client';
import { monotonicMs } from '../../bench/monotonic-clock.ts';

/** A run that was to be made: its request id, and what the label `body` says of it. */
export interface Wanted {
  readonly requestId: string;
  readonly body: string;
}

export type Asked =
  | ({ readonly call: 'create' } & Wanted)
  | { readonly call: 'batch'; readonly items: readonly Wanted[] }
  | { readonly call: 'cancel'; readonly runId: string; readonly force: boolean }
  | { readonly call: 'rerun'; readonly runId: string; readonly requestId: string }
  | { readonly call: 'get'; readonly runId: string }
  | { readonly call: 'list' };

/** A run as it was told. */
export interface Sight {
  readonly runId: string;
  readonly seq: number;
  readonly state: string;
  readonly labels: Readonly<Record<string, string>>;
}

export type Told =
  /** One run for most calls; for a batch one entry an item, undefined where it was refused. */
  | { readonly kind: 'done'; readonly runs: readonly (Sight | undefined)[] }
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'unknown'; readonly why: string };

export interface Operation {
  /** Calls of one client follow one another. */
  readonly client: string;
  readonly asked: Asked;
  readonly told: Told;
  /** On the machine's monotonic clock. */
  readonly askedMs: number;
  readonly toldMs: number;
}

/** What one watcher saw, in order. */
export type Observation =
  | {
      readonly kind: 'event';
      readonly watcher: string;
      readonly runId: string;
      readonly seq: number;
      readonly type: string;
    }
  | { readonly kind: 'run'; readonly watcher: string; readonly sight: Sight }
  | {
      readonly kind: 'log';
      readonly watcher: string;
      readonly jobId: string;
      readonly attempt: number;
      readonly sha256: string;
    }
  /** It ended otherwise than by its own end: an error that is none of the network, or no end in time. */
  | { readonly kind: 'broken'; readonly watcher: string; readonly why: string };

export interface History {
  readonly operations: Operation[];
  readonly observations: Observation[];
}

/** Makes a call and writes down what came of it. Returns what it was told. */
export async function record(
  history: History,
  client: string,
  asked: Asked,
  call: () => Promise<readonly (Sight | undefined)[]>,
): Promise<Told> {
  const askedMs = monotonicMs();
  const told = await call().then(
    (runs): Told => ({ kind: 'done', runs }),
    (error: unknown): Told => failed(error),
  );
  history.operations.push({ client, asked, told, askedMs, toldMs: monotonicMs() });
  return told;
}

function failed(error: unknown): Told {
  if (!(error instanceof ConveyorError)) throw error;
  const { code, reason, message } = error;
  const isRefusal = reason !== undefined && !error.retryable && code !== 'internal' && code !== 'unknown';
  return isRefusal ? { kind: 'refused', reason } : { kind: 'unknown', why: `${code}: ${message}` };
}

export function sightOf({ runId, seq, state, labels }: Run): Sight {
  return { runId, seq: Number(seq), state: RunState[state], labels };
}
