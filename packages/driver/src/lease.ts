// Owns until when this instance may be sure of its lease, on the monotonic clock of this process.

export interface Lease {
  /** A renewal that was asked for at `sentAtMs` (`performance.now`) is committed; it lasts `durationMs` from then. */
  renew(sentAtMs: number, durationMs: number): void;
  /** Watches no more. */
  end(): void;
}

/** A lease that calls `onDoubt` whenever it has run out unanswered, once for each time that it does. */
export function createLease(onDoubt: () => void): Lease {
  let untilMs = Number.NEGATIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  const check = (): void => {
    timer = undefined;
    const leftMs = untilMs - performance.now();
    if (leftMs <= 0) onDoubt();
    else timer = setTimeout(check, leftMs);
  };
  return {
    renew(sentAtMs, durationMs) {
      untilMs = Math.max(untilMs, sentAtMs + durationMs);
      // A timer that is set fires too early at worst, and then looks again.
      timer ??= setTimeout(check, untilMs - performance.now());
    },
    end() {
      clearTimeout(timer);
    },
  };
}
