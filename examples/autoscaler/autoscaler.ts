// Scales a driver by what is queued for it: from zero, when nobody serves it yet, and back to zero when there is nothing left to do.
import type { Client, Demand } from '@conveyor/client';

/** A driver instance that was started: a process, a container, a machine. */
export interface Instance {
  /** Asks it to end what it holds and leave. */
  stop(): void;
  /** Resolves when it is gone, for whatever reason. */
  readonly ended: Promise<void>;
}

export interface AutoscalerOptions {
  readonly client: Client;
  readonly driver: string;
  /** Slots of each instance, and how many there may be. */
  readonly slots: number;
  readonly maxInstances: number;
  /** How long nothing has to be queued or held before all are stopped. */
  readonly idleMs: number;
  readonly start: () => Instance;
  readonly signal: AbortSignal;
}

/** How long after the end of an instance another one may take its place. */
const RESTART_MS = 1_000;

/** How many instances it takes. These have neither labels nor pools, so what asks for some is not for them. */
export function instancesFor(demands: readonly Demand[], slots: number): number {
  const demand = demands.find(({ required, pool }) => required.length === 0 && pool === '');
  return demand === undefined ? 0 : Math.ceil((demand.queued + demand.held) / slots);
}

/** Scales until the abort; then stops all that it has started, and throws the signal's reason. */
export async function autoscale(options: AutoscalerOptions): Promise<never> {
  const { client, driver, slots, maxInstances, idleMs, signal } = options;
  const running = new Set<Instance>();
  const ended = new Set<Promise<void>>();
  let wanted = 0;
  let idle: NodeJS.Timeout | undefined;

  function scale(): void {
    while (running.size < wanted) start();
  }

  function start(): void {
    const instance = options.start();
    running.add(instance);
    const end = instance.ended.then(() => {
      ended.delete(end);
      // One that was not asked to end has crashed.
      if (running.delete(instance)) setTimeout(scale, RESTART_MS);
    });
    ended.add(end);
  }

  function stopAll(): void {
    for (const instance of running) instance.stop();
    running.clear();
  }

  try {
    for await (const { demands } of client.drivers.watchDemand({ drivers: [driver] }, { signal })) {
      wanted = Math.min(instancesFor(demands, slots), maxInstances);
      clearTimeout(idle);
      if (wanted === 0) idle = setTimeout(stopAll, idleMs);
      scale();
    }
    throw new Error('a watch of demand has no end');
  } finally {
    wanted = 0;
    clearTimeout(idle);
    stopAll();
    await Promise.all(ended);
  }
}
