// `bench start`: how long a server with the embedded database takes until it is ready, the first time in a new data directory
// and the next time in the same one, and how much memory it holds when nothing happens.
import { setTimeout as delay } from 'node:timers/promises';
import { postmasterPid } from './ledger-recount.ts';
import { familyProportionalBytes, residentBytes } from './process-usage.ts';
import type { Figure } from './report.ts';
import { startServerProcess } from './server-process.ts';
import { temporaryDirectory } from './temporary-directory.ts';

/** Long enough for what a start leaves behind to be collected. */
const idleMs = 5_000;

/** Measures once; `compiled` as for a server process. */
export async function measureStart({ compiled }: { readonly compiled: boolean }) {
  await using directory = await temporaryDirectory();
  let firstMs: number;
  {
    await using server = await startServerProcess(directory.path, { compiled });
    firstMs = server.startMs;
  }
  await using server = await startServerProcess(directory.path, { compiled });
  await delay(idleMs);
  return {
    firstMs,
    nextMs: server.startMs,
    idleServerBytes: await residentBytes(server.pid),
    idlePostgresBytes: await familyProportionalBytes(await postmasterPid(directory.path)),
  };
}

export const startFigures: Figure<Awaited<ReturnType<typeof measureStart>>>[] = [
  { name: 'first start', unit: 'ms', of: ({ firstMs }) => firstMs },
  { name: 'next start', unit: 'ms', of: ({ nextMs }) => nextMs },
  { name: 'idle memory, server', unit: 'MB', of: ({ idleServerBytes }) => idleServerBytes / 1e6 },
  { name: 'idle memory, PostgreSQL', unit: 'MB', of: ({ idlePostgresBytes }) => idlePostgresBytes / 1e6 },
];
