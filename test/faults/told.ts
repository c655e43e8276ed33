// What clients were told while the database was in trouble: a fault of the database has happened when somebody was refused for it.
import { untilTrue } from './eventually.ts';
import type { Stage } from './stage.ts';

/** How many calls were not answered, or told that the database does not answer, from a time on. */
export function refusedSince({ history }: Stage, sinceMs: number): number {
  return history.operations.filter(({ told, toldMs }) => toldMs >= sinceMs && told.kind === 'unknown').length;
}

/** Waits until as many calls were refused from a time on. */
export async function untilRefused(stage: Stage, sinceMs: number, calls = 3): Promise<void> {
  await untilTrue('calls that are refused', () => refusedSince(stage, sinceMs) >= calls);
}
