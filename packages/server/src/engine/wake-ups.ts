// Wake-ups inside one process: whoever changed something rings its topic, whoever reads from a cursor waits for the ring. A ring
// carries nothing and may come too often; a ring between two waits is remembered, so subscribe before the first read.

/**
 * `run:<id>`: its ledger grew. `log:<run>.<job>`: a log of that job grew or ended. `feed`: what lists of runs show changed. `queues`: jobs
 * were queued, or queues paused or resumed. `demand`: what is queued was read.
 */
export type Topic = `run:${string}` | `log:${string}` | 'feed' | 'queues' | 'demand';

export interface Subscription extends Disposable {
  /** Resolves at the next ring, after `timeoutMs`, or at the abort, whichever comes first; at once if it rang since the last wait. */
  wait(timeoutMs: number, signal: AbortSignal): Promise<void>;
}

export interface WakeUps {
  ring(topic: Topic): void;
  subscribe(topic: Topic): Subscription;
  /** Rings every topic that somebody waits for: what was missed is unknown. */
  ringAll(): void;
}

interface Waiter {
  rang: boolean;
  wake: (() => void) | undefined;
}

export function createWakeUps(): WakeUps {
  const topics = new Map<Topic, Set<Waiter>>();

  function ring(topic: Topic): void {
    for (const waiter of topics.get(topic) ?? []) {
      waiter.rang = true;
      waiter.wake?.();
    }
  }

  return {
    ring,
    ringAll() {
      for (const topic of topics.keys()) ring(topic);
    },
    subscribe(topic) {
      const waiter: Waiter = { rang: false, wake: undefined };
      const waiters = topics.get(topic) ?? new Set();
      topics.set(topic, waiters.add(waiter));
      return {
        async wait(timeoutMs, signal) {
          if (!waiter.rang && !signal.aborted) {
            const { promise, resolve } = Promise.withResolvers<void>();
            const timer = setTimeout(resolve, timeoutMs);
            signal.addEventListener('abort', resolve as () => void, { once: true });
            waiter.wake = resolve;
            await promise;
            waiter.wake = undefined;
            clearTimeout(timer);
            signal.removeEventListener('abort', resolve as () => void);
          }
          waiter.rang = false;
        },
        [Symbol.dispose]() {
          waiters.delete(waiter);
          if (waiters.size === 0 && topics.get(topic) === waiters) topics.delete(topic);
        },
      };
    },
  };
}
