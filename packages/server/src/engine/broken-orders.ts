// What a session asks of a run is decided on in order, or not at all: when the database is too slow for one command, those that came after
// it fail with it. Else a result could be recorded without what was said before it.
import type { Submission } from './run-work.ts';

/** No command waits for as long. */
const FORGET_MS = 60_000;

interface Break {
  /** The number of the newest command at that time. */
  readonly upTo: number;
  readonly error: unknown;
  readonly atMs: number;
}

export interface BrokenOrders {
  /** Numbers a new command. */
  next(): number;
  /** A command failed undecided. */
  breakBy(item: Submission, error: unknown): void;
  /** Why a command has to fail, too; undefined: it need not. */
  whyBroken(item: Submission): { readonly error: unknown } | undefined;
}

export function createBrokenOrders(): BrokenOrders {
  const breaks = new Map<string, Break>();
  let newest = 0;

  function forget(beforeMs: number): void {
    for (const [key, { atMs }] of breaks) {
      if (atMs >= beforeMs) return;
      breaks.delete(key);
    }
  }

  return {
    next: () => ++newest,
    breakBy({ runId, writer }, error) {
      if (writer === undefined) return;
      const atMs = performance.now();
      forget(atMs - FORGET_MS);
      const key = `${runId} ${writer.instance}`;
      // Behind those that are older.
      breaks.delete(key);
      breaks.set(key, { upTo: newest, error, atMs });
    },
    whyBroken({ runId, writer, number }) {
      if (breaks.size === 0 || writer === undefined) return undefined;
      const found = breaks.get(`${runId} ${writer.instance}`);
      return found !== undefined && number <= found.upTo ? found : undefined;
    },
  };
}
