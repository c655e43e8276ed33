// The process of an autoscaler of shell drivers. AUTOSCALER_MAX says how many there may be (default 4), AUTOSCALER_IDLE how many seconds
// they stay without work (default 60).
import { createNodeClient } from '@conveyor/client/node';
import { autoscale } from './autoscaler.ts';
import { startShellDriver } from './driver-process.ts';

const { AUTOSCALER_MAX: max = '4', AUTOSCALER_IDLE: idleS = '60', SHELL_SLOTS: slots = '2' } = process.env;
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());

try {
  await autoscale({
    client: createNodeClient(),
    driver: 'shell',
    slots: Number(slots),
    maxInstances: Number(max),
    idleMs: Number(idleS) * 1_000,
    start: () => startShellDriver({ ...process.env, SHELL_SLOTS: slots }),
    signal: stop.signal,
  });
} catch (error) {
  if (!stop.signal.aborted) throw error;
}
