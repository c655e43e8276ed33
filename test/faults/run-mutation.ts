// Plays one mutation: the servers of a scenario have its defect, and the checker has to say which invariant that breaks.
import type { Mutation } from './mutations.ts';
import type { Random } from './random.ts';
import { runFault } from './run-fault.ts';

export interface MutationResult {
  readonly invariant: number;
  readonly says: string;
  readonly fault: string;
  /** How many violations of its invariant were found: none means that the checker is blind. */
  readonly noticed: number;
  /** One of them, or why there is none. */
  readonly example: string;
  readonly tookMs: number;
}

export async function runMutation(
  { invariant, says, source, fault }: Mutation,
  random: Random,
  settleMs: number,
): Promise<MutationResult> {
  const { violations, complaints, tookMs } = await runFault({ fault, random, mutation: { source, settleMs } });
  const found = violations.filter((violation) => violation.invariant === invariant);
  const others = violations.map(({ invariant: other, complaint }) => `invariant ${other}: ${complaint}`);
  const example = found[0]?.complaint ?? [...complaints, ...others][0] ?? 'nothing was found';
  return { invariant, says, fault: fault.name, noticed: found.length, example, tookMs };
}
