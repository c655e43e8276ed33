// The owner of promises that nobody waits for: it logs what fails and awaits all of them when disposed.
import type { Log } from './log.ts';

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
      while (open.size > 0) await Promise.all(open);
    },
  };
}
