// The place of a job among those of its flow. A job gains a level of priority for each AGEING_MS that it waits, so of two jobs the one
// that is ahead stays ahead: the order does not change with time, and an index can hold it.

export const AGEING_MS = 60_000;

/** The least rank is first. With equal priorities, the first queued is first. */
export function rankOf(queuedMs: number, priority: number): number {
  return queuedMs - priority * AGEING_MS;
}
