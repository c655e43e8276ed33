// How fast a cancel reaches the driver that runs what it stops, beside nothing else and beside all the load.
import { percentile } from '../../bench/statistics.ts';
import { monotonicMs } from '../../bench/monotonic-clock.ts';
import { untilTrue } from '../eventually.ts';
import type { Fault } from '../fault.ts';
import { steadyWork } from '../load/shapes.ts';
import { limitPassed } from '../sessions.ts';
import type { Stage } from '../stage.ts';

const CANCELS = 100;
const LOADED_P99_MS = 2_000;
const IDLE_P99_MS = 50;

export const cancelFaults: readonly Fault[] = [
  {
    name: 'cancels-when-idle',
    says: 'running jobs are cancelled, and nothing else happens',
    scene: { workers: 0 },
    strike: (stage) => cancelMany(stage, IDLE_P99_MS),
  },
  {
    name: 'cancels-under-load',
    says: 'running jobs are cancelled beside all the load',
    strike: (stage) => cancelMany(stage, LOADED_P99_MS),
  },
];

/** Cancels one running job after the other. What is told as its recovery is the 99th percentile from the call to the driver. */
async function cancelMany(stage: Stage, limitMs: number) {
  const calledMs = new Map<string, number>();
  for (let number = 0; number < CANCELS; number++) {
    const place = stage.random.pick(stage.places);
    const runId = await stage.createRun(place, steadyWork(`cancelled ${number}`, 10_000));
    await untilTrue('the start of what is cancelled', () => isRunning(stage, runId));
    calledMs.set(runId, monotonicMs());
    await place.client.runs.cancel(runId, { reason: 'measured' });
    await stage.finished(runId);
  }
  const tookMs: number[] = [];
  for (const entry of await stage.journal()) {
    if (!('hear' in entry) || entry.hear !== 'cancel') continue;
    const [runId = ''] = entry.attempt.split('.');
    const called = calledMs.get(runId);
    // Said again by a later session, it counts once.
    if (called !== undefined && calledMs.delete(runId)) tookMs.push(entry.atMs - called);
  }
  const recoveryMs = percentile(tookMs, 99);
  return {
    fired: tookMs.length,
    recoveryMs,
    complaints: [
      ...(tookMs.length === CANCELS ? [] : [`${CANCELS - tookMs.length} cancels reached no driver`]),
      ...limitPassed('a cancel', recoveryMs, limitMs),
    ],
  };
}

async function isRunning(stage: Stage, runId: string): Promise<boolean> {
  const rows = await stage.system.query(
    `select 1 from attempts where run_id = $1 and state = 'RUNNING' and log_size > 0`,
    [runId],
  );
  return rows.length > 0;
}
