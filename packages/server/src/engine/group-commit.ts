// Natural group commit: one flush in flight, and what arrives meanwhile goes into the next. Alone an item is flushed at once,
// under load a flush carries hundreds. A flush that fails is cut in halves, so that a bad item fails alone; while the database is
// away everything waits.
import { setTimeout as delay } from 'node:timers/promises';
import { isOutage } from '../store/outage.ts';

const OUTAGE_PAUSE_MS = 100;

export interface GroupCommitOptions<T> {
  readonly maxItems: number;
  /** Commits the items together and answers them. Returns those that have to go into a later flush. */
  readonly flush: (items: readonly T[]) => Promise<readonly T[]>;
  /** Answers an item whose flush failed for its own reason, or that a stop left behind. */
  readonly fail: (item: T, error: unknown) => void;
}

/** Disposing fails what waits, after the flush in flight. */
export interface GroupCommit<T> extends AsyncDisposable {
  add(item: T): void;
  /** How many items wait for a flush. */
  waiting(): number;
}

export function createGroupCommit<T>({ maxItems, flush, fail }: GroupCommitOptions<T>): GroupCommit<T> {
  const stopping = new AbortController();
  const queue: T[] = [];
  let running: Promise<void> | undefined;

  async function drive(): Promise<void> {
    // Frames that were read in the same turn of the event loop share a flush.
    await new Promise(setImmediate);
    while (queue.length > 0) {
      const items = queue.splice(0, maxItems);
      if (stopping.signal.aborted) for (const item of items) fail(item, stopping.signal.reason);
      else queue.unshift(...(await settle(items)));
    }
    running = undefined;
  }

  /** Returns the items to try again. */
  async function settle(items: readonly T[]): Promise<readonly T[]> {
    try {
      return await flush(items);
    } catch (error) {
      if (isOutage(error)) {
        await delay(OUTAGE_PAUSE_MS, undefined, stopping).catch(() => undefined);
        return items;
      }
      const [first] = items;
      if (first !== undefined && items.length === 1) {
        fail(first, error);
        return [];
      }
      const half = items.length >> 1;
      const again = await settle(items.slice(0, half));
      // Items keep their order: what has to wait holds back what came after it.
      return again.length > 0 ? [...again, ...items.slice(half)] : await settle(items.slice(half));
    }
  }

  return {
    add(item) {
      queue.push(item);
      running ??= drive();
    },
    waiting: () => queue.length,
    async [Symbol.asyncDispose]() {
      stopping.abort(new Error('the server is stopping'));
      await running;
    },
  };
}
