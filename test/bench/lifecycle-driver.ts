// A process of drivers for `bench lifecycle`: many sessions, each with its own slots. Every job writes ten lines and succeeds.
// Asked, it says how much it has run.
import { defineDriver } from '@conveyor/driver';
import { answer, childSettings } from './child.ts';

export interface DriverSettings {
  readonly address: string;
  readonly token: string;
  readonly sessions: number;
  readonly slots: number;
}

/** What all sessions have run, since they began. */
export interface DriverTotals {
  readonly jobs: number;
  readonly logBytes: number;
}

export const driverName = 'bench';

const lines = 10;

async function main(): Promise<void> {
  const { address, token, sessions, slots } = childSettings<DriverSettings>();
  let jobs = 0;
  let logBytes = 0;
  const driver = defineDriver({
    name: driverName,
    slots,
    async run({ job, log }) {
      for (let line = 1; line <= lines; line++) {
        const text = `[${line}/${lines}] ${job.attemptId}: compiled, linked and checked one more of the modules\n`;
        await log(text);
        logBytes += text.length;
      }
      jobs++;
    },
  });
  const running = Array.from({ length: sessions }, () => driver.start({ addresses: [address], token }));
  const ended = Promise.all(running.map(({ finished }) => finished));
  await Promise.race([ended, Promise.all(running.map(({ ready }) => ready))]);
  answer<object, DriverTotals>(() => ({ jobs, logBytes }));
  await ended;
}

if (import.meta.main) await main();
