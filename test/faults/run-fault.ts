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
  /** How often what kills everything does so. Default: 2. */
  readonly kills?: number;
  /** How long transactions stay idle, beyond what the load needs. Default: 0. */
  readonly idleMs?: number;
  /** Default: the servers as they are. */
  readonly mutation?: { readonly source: SourceMutation; readonly settleMs: number };
}

export async function runFault(run: FaultRun): Promise<FaultResult> {
  const startedMs = monotonicMs();
  const played = await play(run).catch((error: unknown) => ({
    ...brokenOff(error),
    operations: 0,
    violations: [],
  }));
  return { fault: run.fault.name, ...played, tookMs: monotonicMs() - startedMs };
}

async function play({
  fault,
  random,
  kills = 2,
  idleMs = 0,
  mutation,
}: FaultRun): Promise<Omit<FaultResult, 'fault' | 'tookMs'>> {
  await using stage = await openStage({
    random,
    kills,
    idleMs,
    ...fault.scene,
    ...(mutation !== undefined && { mutation: mutation.source, settleMs: mutation.settleMs }),
  });
  // A defect may keep runs from their end, and without load there are none.
  const flowing = mutation === undefined && fault.scene?.workers !== 0 ? stage.flow() : Promise.resolve();
  const struck = flowing
    .then(() => fault.strike(stage))
    // What it left behind may say why.
    .catch(brokenOff);
  return { complaints: [], ...(await struck), ...(await stage.close()) };
}

function brokenOff(error: unknown): Struck & { readonly complaints: readonly string[] } {
  return { fired: 0, complaints: [`it broke off: ${String(error)}`] };
}

/** Whether the fault happened and nothing was broken that was promised. */
export function hasPassed({ fired, violations, complaints, notRun }: FaultResult): boolean {
  return notRun === undefined && fired > 0 && violations.length === 0 && complaints.length === 0;
}
