// The owner of promises that nobody waits for: it logs what fails and awaits all of them when disposed, for a while.
import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from './log.ts';

/** Work may hang in what an embedding program brought along, such as its source of secrets. */
const DISPOSE_MS = 10_000;

export interface Background extends AsyncDisposable {
  run(work: () => Promise<void>): void;
}

export function createBackground(log: Log): Background {
  const open = new Set<Promise<void>>();
  return {
    run(work) {
      const promise = work()
        .catch((error: unknown) => log.error({ err: error }, 'background work failed'))
        .finally(() => open.delete(promise));
      open.add(promise);
    },
    async [Symbol.asyncDispose]() {
      const timer = new AbortController();
      const over = delay(DISPOSE_MS, 'over' as const, timer).catch(() => undefined);
      const ended = async (): Promise<void> => {
        while (open.size > 0) await Promise.all(open);
      };
      if ((await Promise.race([ended(), over])) === 'over') log.error({ open: open.size }, 'background work hangs');
      timer.abort();
    },
  };
}
