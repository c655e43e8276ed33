// One scenario from its first process to its last: the fault strikes in the middle of the load, and the checker has the last word.
import { monotonicMs } from '../bench/monotonic-clock.ts';
import type { Violation } from './checker/check.ts';
import type { Fault, Struck } from './fault.ts';
import type { SourceMutation } from './preload/mutated-sources.ts';
import type { Random } from './random.ts';
import { openStage } from './stage.ts';

export interface FaultResult {
  readonly fault: string;
  readonly fired: number;
  /** Calls and sights that clients and watchers wrote down. */
  readonly operations: number;
  readonly violations: readonly Violation[];
  readonly complaints: readonly string[];
  readonly recoveryMs?: number | undefined;
  readonly tookMs: number;
  readonly notRun?: string | undefined;
}

export interface FaultRun {
  readonly fault: Fault;
  readonly random: Random;
  /** Default: the servers as they are. */
  readonly mutation?: { readonly source: SourceMutation; readonly settleMs: number };
}

export async function runFault({ fault, random, mutation }: FaultRun): Promise<FaultResult> {
  const startedMs = monotonicMs();
  await using stage = await openStage({
    random,
    ...fault.scene,
    ...(mutation !== undefined && { mutation: mutation.source, settleMs: mutation.settleMs }),
  });
  const {
    fired,
    recoveryMs,
    complaints = [],
    notRun,
  } = await stage
    .flow()
    .then(() => fault.strike(stage))
    .catch((error: unknown): Struck => ({ fired: 0, complaints: [`it broke off: ${String(error)}`] }));
  const { operations, violations } = await stage.close();
  const tookMs = monotonicMs() - startedMs;
  return { fault: fault.name, fired, operations, violations, complaints, recoveryMs, tookMs, notRun };
}

/** Whether the fault happened and nothing was broken that was promised. */
export function hasPassed({ fired, violations, complaints, notRun }: FaultResult): boolean {
  return notRun === undefined && fired > 0 && violations.length === 0 && complaints.length === 0;
}
