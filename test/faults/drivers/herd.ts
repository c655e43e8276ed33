// A process of many driver instances that hold a session each and do nothing.
import { defineDriver } from '@conveyor/driver';
import { processSettings, ready } from '../../e2e/processes.ts';

export interface HerdSettings {
  readonly name: string;
  readonly instances: number;
  readonly addresses: readonly string[];
  readonly token: string;
}

async function main(): Promise<void> {
  const { name, instances, addresses, token } = processSettings<HerdSettings>();
  const herd = Array.from({ length: instances }, (_, number) =>
    defineDriver({ name, run: async () => undefined }).start({ addresses, token, instanceId: `${name}-${number}` }),
  );
  for (const { finished } of herd) finished.catch(() => undefined);
  await Promise.all(herd.map((driver) => driver.ready));
  ready({});
}

if (import.meta.main) await main();
