// Owns how long to wait between tries. The delay doubles with each failure in a row and is never cut below half of it.

/** How delays grow. */
export interface Backoff {
  /** The delay after the first failure. */
  readonly initialDelayMs: number;
  /** The longest delay. */
  readonly maxDelayMs: number;
}

/** The delay after `failures` failures in a row, from 1: drawn evenly from the upper half of the doubled delay. */
export function backoffDelayMs(failures: number, { initialDelayMs, maxDelayMs }: Backoff): number {
  const delayMs = Math.min(maxDelayMs, initialDelayMs * 2 ** (failures - 1));
  return delayMs * (0.5 + Math.random() / 2);
}

/** Waits; an abort ends the wait at once and throws the signal's reason. */
export function waitFor(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, delayMs);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
