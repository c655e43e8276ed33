// A driver for `bench pickup` as its author would write it. Asked for a run, it answers when that run's work has begun.
import { defineDriver } from '@conveyor/driver';
import { answer, childSettings } from './child.ts';
import { monotonicMs } from './monotonic-clock.ts';
import type { PickedUpRun, PickupSettings } from './pickup-session.ts';
import { createPickups } from './pickups.ts';

/** When, by the clock that processes share. */
export interface DriverPickup {
  readonly runMs: number;
}

export const driverName = 'bench-driver';

async function main(): Promise<void> {
  const { address, token } = childSettings<PickupSettings>();
  const pickups = createPickups<DriverPickup>();
  const driver = defineDriver({
    name: driverName,
    async run({ job }) {
      pickups.add(job.runId, { runMs: monotonicMs() });
    },
  }).start({ addresses: [address], token });
  await Promise.race([driver.ready, driver.finished]);
  answer<PickedUpRun, DriverPickup>(({ runId }) => pickups.of(runId));
  await driver.finished;
}

if (import.meta.main) await main();
