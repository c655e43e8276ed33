// Watching demand. One loop reads for all who watch at this replica, and only while somebody does: soon after something was queued, once a
// second otherwise, and never for more than a small part of the time. Who watches compares its last reading with the newest, so whoever reads
// slowly misses what was in between and holds up nobody.
import { setTimeout as delay } from 'node:timers/promises';
import { type DemandChange, demandChanges, type DemandReading } from '../core/demand.ts';
import { LIMITS } from '../core/limits.ts';
import type { DemandReader } from './demand-reader.ts';
import type { DemandChanges, DriverOperations } from './driver-operations.ts';
import { follow, type Reading } from './follow.ts';
import type { WakeUps } from './wake-ups.ts';

/** Shortest time from one reading to the next; so much of what a reading took; and at most. */
const REST_MS = 100;
const REST_FACTOR = 10;
const MAX_REST_MS = 10_000;
/** How long nothing has to be told for a reading to be made all the same. */
const POLL_MS = 1_000;

export interface DemandWatchOptions {
  readonly read: DemandReader;
  readonly wakeUps: WakeUps;
}

export interface DemandWatch extends Pick<DriverOperations, 'watchDemand'> {
  /** Reads for those who watch, until the abort. */
  run(signal: AbortSignal): Promise<void>;
}

/** The newest reading, or why there is none. Readings are numbered as they begin. */
interface Newest {
  readonly number: number;
  readonly reading: DemandReading | undefined;
  readonly error?: unknown;
}

export function createDemandWatch({ read, wakeUps }: DemandWatchOptions): DemandWatch {
  let begun = 0;
  let newest: Newest | undefined;
  let watchers = 0;
  let somebody = Promise.withResolvers<void>();

  /** Counts one who watches, until it is disposed. Returns the number of the first reading that it may be told of. */
  function join(): Disposable & { readonly due: number } {
    watchers++;
    somebody.resolve();
    wakeUps.ring('queues');
    return {
      due: begun + 1,
      [Symbol.dispose]() {
        watchers--;
        if (watchers > 0) return;
        newest = undefined;
        somebody = Promise.withResolvers();
      },
    };
  }

  async function readOnce(): Promise<void> {
    const number = ++begun;
    try {
      const reading = await read(newest?.reading);
      newest = { number, reading };
    } catch (error) {
      newest = { number, reading: undefined, error };
    }
    wakeUps.ring('demand');
  }

  return {
    async run(signal) {
      using queued = wakeUps.subscribe('queues');
      signal.addEventListener('abort', () => somebody.resolve(), { once: true });
      while (!signal.aborted) {
        await somebody.promise;
        if (signal.aborted) return;
        const beganMs = performance.now();
        await readOnce();
        const tookMs = performance.now() - beganMs;
        const restMs = Math.min(Math.max(REST_MS, REST_FACTOR * tookMs), MAX_REST_MS);
        await delay(restMs, undefined, { signal }).catch(() => undefined);
        await queued.wait(POLL_MS * (0.5 + Math.random() / 2), signal);
      }
    },
    async *watchDemand(drivers, signal) {
      using subscription = wakeUps.subscribe('demand');
      using joined = join();
      const asked = drivers.length === 0 ? undefined : new Set(drivers);
      let told: DemandReading | undefined;
      const readChanges = async (): Promise<Reading<readonly DemandChanges[]>> => {
        if (newest === undefined || newest.number < joined.due) return { found: undefined, more: false };
        if (newest.reading === undefined) throw newest.error;
        const isFirst = told === undefined;
        const changes = demandChanges(told, newest.reading, asked);
        told = newest.reading;
        return { found: changes.length > 0 || isFirst ? messagesOf(changes, isFirst) : undefined, more: false };
      };
      for await (const messages of follow({ read: readChanges, subscription, signal })) yield* messages ?? [LIFE];
    },
  };
}

const LIFE: DemandChanges = { changes: [], snapshotComplete: false };

/** Changes in messages of bounded size. */
function messagesOf(changes: readonly DemandChange[], isSnapshot: boolean): readonly DemandChanges[] {
  const messages: DemandChange[][] = [[]];
  let bytes = 0;
  for (const change of changes) {
    const size = 256 + JSON.stringify(change.demand.required).length;
    if (bytes > 0 && bytes + size > LIMITS.pageBytes) {
      messages.push([]);
      bytes = 0;
    }
    messages.at(-1)?.push(change);
    bytes += size;
  }
  return messages.map((part, i) => ({ changes: part, snapshotComplete: isSnapshot && i === messages.length - 1 }));
}
