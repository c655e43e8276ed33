// Owns what a loop has begun and does not wait for, so that a run that somebody else has locked, or a decision that takes long, keeps
// nobody but itself waiting. Of one key one round is under way, and what is begun for it meanwhile goes into the next.
import type { Log } from './log.ts';

export type Part = number | string;

export interface Task {
  /** Who is kept waiting while it lasts: a run, a schedule, an instance. */
  readonly key: string;
  /** Names it among those of its key: of two that wait, the newer one is done. */
  readonly part: Part;
  /** Whose key it is, where one may have so many of them that others would have none. */
  readonly owner?: string;
  readonly work: () => Promise<unknown>;
}

export interface UnderWay {
  /**
   * Begins tasks or puts them in line behind those of their keys. Resolves at once, or, while `maxKeys` are under way, when one has ended.
   * Returns whether some were left, for `maxOfOwner` keys of their owner are under way: they are to be found again.
   */
  begin(tasks: readonly Task[]): Promise<boolean>;
  /** Whether it is under way or in line. */
  has(key: string, part: Part): boolean;
  /** What is under way. */
  keys(): readonly string[];
  /** The end of a loop: begins nothing that is in line. Resolves when nothing is under way. */
  settled(): Promise<void>;
}

export interface UnderWayOptions {
  readonly maxKeys: number;
  /** Keys of one owner. Default: as many as of all. */
  readonly maxOfOwner?: number;
  /** Tasks of one key at once. */
  readonly maxParts: number;
  /** What the log says of a task that failed: once until one succeeds, because an outage fails all alike. */
  readonly failed: string;
  readonly log: Log;
}

interface Line {
  readonly owner: string | undefined;
  doing: ReadonlyMap<Part, Task>;
  readonly waiting: Map<Part, Task>;
  end: Promise<void>;
}

export function createUnderWay({ maxKeys, maxOfOwner = maxKeys, maxParts, failed, log }: UnderWayOptions): UnderWay {
  const lines = new Map<string, Line>();
  /** How many lines each owner has. */
  const owned = new Map<string, number>();
  let failing = false;
  let stopped = false;

  async function goThrough(key: string, line: Line): Promise<void> {
    try {
      while (line.waiting.size > 0 && !stopped) {
        line.doing = new Map([...line.waiting].slice(0, maxParts));
        for (const part of line.doing.keys()) line.waiting.delete(part);
        await allOf([...line.doing.values()].map(({ work }) => work()));
        failing = false;
      }
    } catch (error) {
      // What waits behind is not tried now either: the loop finds all of it again by what is stored.
      if (!failing && !stopped) log.warn({ err: error }, failed);
      failing = true;
    } finally {
      // In the same turn as the last look at what waits, so that nothing joins a line that nobody goes through.
      lines.delete(key);
      count(line.owner, -1);
    }
  }

  function count(owner: string | undefined, change: 1 | -1): void {
    if (owner === undefined) return;
    const now = (owned.get(owner) ?? 0) + change;
    if (now > 0) owned.set(owner, now);
    else owned.delete(owner);
  }

  function openLine(key: string, owner: string | undefined): Line {
    const line: Line = { owner, doing: new Map(), waiting: new Map(), end: Promise.resolve() };
    lines.set(key, line);
    count(owner, 1);
    // After whoever opened it has put its tasks in.
    line.end = Promise.resolve().then(() => goThrough(key, line));
    return line;
  }

  return {
    async begin(tasks) {
      let isLeft = false;
      for (const [key, parts] of Map.groupBy(tasks, (task) => task.key)) {
        const owner = parts[0]?.owner;
        if (!lines.has(key) && owner !== undefined && (owned.get(owner) ?? 0) >= maxOfOwner) {
          isLeft = true;
          continue;
        }
        while (!lines.has(key) && lines.size >= maxKeys) await Promise.race([...lines.values()].map(({ end }) => end));
        const line = lines.get(key) ?? openLine(key, owner);
        for (const task of parts) line.waiting.set(task.part, task);
      }
      return isLeft;
    },
    has(key, part) {
      const line = lines.get(key);
      return line !== undefined && (line.doing.has(part) || line.waiting.has(part));
    },
    keys: () => [...lines.keys()],
    async settled() {
      stopped = true;
      await Promise.all([...lines.values()].map(({ end }) => end));
    },
  };
}

/** Waits for all. @throws what the first failed with, after the others. */
export async function allOf<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const failures: unknown[] = [];
  const done: T[] = [];
  for (const result of await Promise.allSettled(promises)) {
    if (result.status === 'fulfilled') done.push(result.value);
    else failures.push(result.reason);
  }
  if (failures.length > 0) throw failures[0];
  return done;
}
