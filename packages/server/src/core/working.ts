// What one decision has worked out of expressions. A decision that is made again, since it lacked something, finds here what it came to
// before: a decision depends on nothing else than what it is given, so it comes the same way.
import type { Cell } from './definition.ts';
import type { Problem } from './expression-failures.ts';
import type { JsonObject } from './json.ts';
import type { WorkedOut } from './run-state.ts';

export type Evaluated =
  | ({ readonly outcome: 'READY' | 'SKIP' } & WorkedOut)
  | ({ readonly outcome: 'INVALID' } & Pick<WorkedOut, 'condition' | 'spec'> & Problem)
  /** Of a planned run: it depends on what nobody knows. */
  | { readonly outcome: 'UNKNOWN'; readonly message: string };

/** The cells of a matrix, and how many of them may be open at the same time when that is worked out, too. */
export interface MadeCells {
  readonly cells: readonly Cell[];
  readonly maxParallel?: number;
}

/** Made by evaluateMatrix: the cells; why there are none; why nobody can know them. */
export type EvaluatedMatrix = MadeCells | Problem | { readonly unknown: string };

/** What a decision has spent on expressions, how much has come of it, and what it need not work out again. */
export interface Working {
  steps: number;
  /** Of what it has worked out, as JSON. */
  bytes: number;
  /** The statuses of the run as of which the values of `env` are paid for. */
  readonly envs: Set<string>;
  readonly known: KnownWork;
}

/** By job. To be handed from one try of a decision to the next, and not to another decision. */
export interface KnownWork {
  readonly jobs: Map<number, Known<Evaluated>>;
  readonly matrices: Map<number, Known<EvaluatedMatrix>>;
  /** The values of `env`, or why they cannot be had, by the status of the run as of which they are. */
  readonly envs: Map<string, Known<FoundEnv>>;
}

export type FoundEnv = { readonly env: JsonObject } | Problem;

interface Known<T> {
  readonly value: T;
  readonly steps: number;
  readonly bytes: number;
  /** The values of `env` that are paid for by this. */
  readonly envs: readonly string[];
}

export function nothingKnown(): KnownWork {
  return { jobs: new Map(), matrices: new Map(), envs: new Map() };
}

export function beginWorking(known: KnownWork): Working {
  return { steps: 0, bytes: 0, envs: new Set(), known };
}

/** Works something out, of a job or a status of the run, unless that is known; it costs the decision the same. */
export function workOutOnce<K, T>(working: Working, known: Map<K, Known<T>>, key: K, workOut: () => T): T {
  const before = known.get(key);
  if (before !== undefined) {
    working.steps += before.steps;
    working.bytes += before.bytes;
    for (const status of before.envs) working.envs.add(status);
    return before.value;
  }
  const { steps, bytes } = working;
  const paid = working.envs.size;
  const value = workOut();
  const envs = [...working.envs].slice(paid);
  known.set(key, { value, steps: working.steps - steps, bytes: working.bytes - bytes, envs });
  return value;
}

/** Works out the values of `env` as of a status of the run, which are paid for once in a decision, however often they are read. */
export function workOutEnv(working: Working, status: string, workOut: () => FoundEnv): FoundEnv {
  const { known, envs } = working;
  const paid = envs.has(status) ? known.envs.get(status) : undefined;
  if (paid !== undefined) return paid.value;
  const found = workOutOnce(working, known.envs, status, workOut);
  envs.add(status);
  return found;
}
