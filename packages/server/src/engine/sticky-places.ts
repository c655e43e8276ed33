// Where the last job of each sticky key went, as far as this replica knows. A preference: a job waits for its place for a short time
// only, and goes to any other when its place is gone or does not take it.
import type { QueueRow } from '../store/queue-rows.ts';
import type { Flow } from './queue-flows.ts';
import type { Session } from './session.ts';

/** Keys remembered; those that were not used for the longest time are forgotten. */
const MAX_REMEMBERED = 10_000;
/** How long a job, from when it was queued, waits for a slot of its place. */
const WAIT_MS = 2_000;

export interface StickyPlaces {
  /** The session that took the last job of the row's key, if it may take this one. */
  find(flow: Flow, row: QueueRow, candidates: readonly { readonly session: Session }[]): Session | undefined;
  /** Whether the row still waits for its place rather than going elsewhere. */
  isWaiting(row: QueueRow): boolean;
  took(flow: Flow, row: QueueRow, session: Session): void;
}

export function createStickyPlaces(): StickyPlaces {
  const places = new Map<string, number>();
  const keyOf = ({ project }: Flow, session: { readonly driver: string }, key: string): string =>
    JSON.stringify([project, session.driver, key]);

  return {
    find(flow, { stickyKey }, candidates) {
      const [any] = candidates;
      if (stickyKey === undefined || any === undefined) return undefined;
      const instance = places.get(keyOf(flow, any.session.facts, stickyKey));
      return candidates.find(({ session }) => session.facts.writer.instance === instance)?.session;
    },
    isWaiting: ({ waitedMs = WAIT_MS }) => waitedMs < WAIT_MS,
    took(flow, { stickyKey }, session) {
      if (stickyKey === undefined) return;
      const key = keyOf(flow, session.facts, stickyKey);
      places.delete(key);
      places.set(key, session.facts.writer.instance);
      const [oldest] = places.keys();
      if (places.size > MAX_REMEMBERED && oldest !== undefined) places.delete(oldest);
    },
  };
}
