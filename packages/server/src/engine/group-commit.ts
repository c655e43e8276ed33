// Natural group commit: one flush in flight, and what arrives meanwhile goes into the next. Alone an item is flushed at once,
// under load a flush carries hundreds. A flush that fails is cut in halves, so that a bad item fails alone. While the database is
// away everything waits, in order, and what has waited for too long fails. Owners of items are served in turns.
import { setTimeout as delay } from 'node:timers/promises';
import { databaseUnavailable, TOO_SLOW } from '../core/refusal.ts';
import { DatabaseAway, isOutage, isTooSlow } from '../store/outage.ts';
import { createOwnerLines } from './owner-lines.ts';

const OUTAGE_PAUSE_MS = 100;
/** How long a flush waits for a connection before the items are looked at again. */
const CONNECTION_MS = 1_000;
const PATIENCE_MS = 15_000;

export interface GroupCommitOptions<T> {
  readonly maxItems: number;
  /** Items of one owner are flushed in order, while others have their turns between them. Default: all have one owner. */
  readonly ownerOf?: (item: T) => string;
  /**
   * Commits the items together and answers them. Returns those that have to go into a later flush, in the order in which they go on. When
   * it throws, none of them was committed.
   * @param signal Aborts when it shall not wait for a connection any more.
   */
  readonly flush: (items: readonly T[], signal: AbortSignal) => Promise<readonly T[]>;
  /** Called in the same turn before items go back among those that wait: only then may `ownerOf` change its mind. */
  readonly onPutBack?: () => void;
  /** Answers an item whose flush failed for its own reason, that waited too long in an outage, or that a stop left behind. */
  readonly fail: (item: T, error: unknown) => void;
  /** How long an item waits for a database that is away. Default: 15 s. */
  readonly patienceMs?: number;
}

/** Disposing fails what waits, after the flush in flight. */
export interface GroupCommit<T> extends AsyncDisposable {
  add(item: T): void;
  /** How many items wait for a flush. */
  waiting(): number;
}

interface Entry<T> {
  readonly item: T;
  readonly atMs: number;
}

export function createGroupCommit<T>({
  maxItems,
  ownerOf = () => '',
  flush,
  onPutBack,
  fail,
  patienceMs = PATIENCE_MS,
}: GroupCommitOptions<T>): GroupCommit<T> {
  const stopping = new AbortController();
  const queue = createOwnerLines<Entry<T>>(({ item }) => ownerOf(item));
  let running: Promise<void> | undefined;
  /** Ends the wait of the flush in flight for a connection. */
  let connecting: AbortController | undefined;

  async function drive(): Promise<void> {
    // Frames that were read in the same turn of the event loop share a flush.
    await new Promise(setImmediate);
    while (queue.size() > 0) {
      const entries = queue.take(maxItems);
      if (stopping.signal.aborted) {
        for (const { item } of entries) fail(item, stopping.signal.reason);
        continue;
      }
      const again = await settle(entries);
      onPutBack?.();
      queue.putBack(again);
    }
    running = undefined;
  }

  /** Returns the items to try again. */
  async function settle(entries: readonly Entry<T>[]): Promise<readonly Entry<T>[]> {
    try {
      return await commit(entries);
    } catch (error) {
      if (isOutage(error)) {
        await delay(OUTAGE_PAUSE_MS, undefined, stopping).catch(() => undefined);
        const away = databaseUnavailable(
          `the database has been away for ${patienceMs / 1_000} s, and nothing was changed: try again later`,
        );
        for (const { item } of queue.cut(inTime())) fail(item, away);
        return failOverdue(entries, away);
      }
      const reason = isTooSlow(error) ? databaseUnavailable(TOO_SLOW) : error;
      const [first] = entries;
      if (first !== undefined && entries.length === 1) {
        fail(first.item, reason);
        return [];
      }
      // When the database is slow, or locked, the search for the bad item must not become what everybody waits for.
      const open = isTooSlow(error) ? failOverdue(entries, reason) : entries;
      const half = open.length >> 1;
      const again = await settle(open.slice(0, half));
      // Items keep their order: what has to wait holds back what came after it.
      return again.length > 0 ? [...again, ...open.slice(half)] : await settle(open.slice(half));
    }
  }

  async function commit(entries: readonly Entry<T>[]): Promise<readonly Entry<T>[]> {
    if (entries.length === 0) return [];
    const wait = (connecting = new AbortController());
    if (stopping.signal.aborted) wait.abort(stopping.signal.reason);
    const timer = setTimeout(() => wait.abort(new DatabaseAway('there is no connection yet')), CONNECTION_MS);
    const items = entries.map(({ item }) => item);
    const later = await flush(items, wait.signal).finally(() => clearTimeout(timer));
    if (later.length === 0) return [];
    const entryOf = new Map(entries.map((entry) => [entry.item, entry]));
    return later.flatMap((item) => entryOf.get(item) ?? []);
  }

  /** Fails what has waited for too long. Returns the rest. */
  function failOverdue(entries: readonly Entry<T>[], error: unknown): readonly Entry<T>[] {
    const isInTime = inTime();
    for (const entry of entries) if (!isInTime(entry)) fail(entry.item, error);
    return entries.filter(isInTime);
  }

  function inTime(): (entry: Entry<T>) => boolean {
    const oldestMs = performance.now() - patienceMs;
    return ({ atMs }) => atMs >= oldestMs;
  }

  return {
    add(item) {
      queue.add({ item, atMs: performance.now() });
      running ??= drive();
    },
    waiting: () => queue.size(),
    async [Symbol.asyncDispose]() {
      stopping.abort(databaseUnavailable('this server is stopping: connect to another one, or try again in a moment'));
      connecting?.abort(stopping.signal.reason);
      await running;
    },
  };
}
