// A bell for one loop that waits: whoever has news for it rings, and a ring while nobody waits ends the next wait at once.

export interface Ring {
  ring(): void;
  /** Resolves at the next ring, after so long, or at the abort, whichever comes first. */
  wait(ms: number, signal: AbortSignal): Promise<void>;
}

export function createRing(): Ring {
  let rung = Promise.withResolvers<void>();
  return {
    ring: () => rung.resolve(),
    async wait(ms, signal) {
      const { promise, resolve } = rung;
      const onAbort = (): void => resolve();
      signal.addEventListener('abort', onAbort, { once: true });
      if (signal.aborted) onAbort();
      const timer = setTimeout(resolve, ms);
      await promise;
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      rung = Promise.withResolvers();
    },
  };
}
