// Schedules of a whole system whose servers are killed in the very moment in which an occurrence is due: another one takes it, and each
// second has exactly one run.
import { setTimeout as delay } from 'node:timers/promises';
import { RunState, ScheduleMissedPolicy, ScheduleOccurrenceState, ScheduleOverlapPolicy } from '@conveyor/client';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { jobOf } from './jobs.ts';
import { startSystem, type System } from './system.ts';

let system: System;
beforeEach(async () => {
  system = await startSystem();
});
afterEach(() => system[Symbol.asyncDispose]());

const running = () => system.replicas.filter((replica) => replica.isRunning());
const client = () => running()[0]!.client;

interface Row {
  readonly at_ms: string;
  readonly state: string;
  readonly run_id: string | null;
}

const occurrences = () => system.query<Row>('select at_ms, state, run_id from occurrences order by at_ms');

test('an occurrence that is due while its server is killed makes its one run at another', async () => {
  await client().schedules.apply({
    name: 'tick',
    spec: {
      run: {
        source: {
          case: 'definition',
          value: { jobs: [jobOf('ticker', { steps: [{ do: 'say', text: 'tick\n' }] })] },
        },
      },
      cron: ['* * * * * *'],
      overlapPolicy: ScheduleOverlapPolicy.ALLOW,
      missedPolicy: ScheduleMissedPolicy.RUN_ALL,
      maxCatchUp: 100,
    },
  });
  await vi.waitFor(async () => expect((await occurrences()).length).toBeGreaterThan(1), 20_000);

  for (let round = 0; round < 3; round++) {
    const [victim] = running();
    // Somewhere in the few milliseconds in which the occurrence is decided on, its run is created and that is recorded.
    await delay(1_000 - (Date.now() % 1_000) + round * 5);
    expect(await victim!.kill()).toBe('SIGKILL');
    await system.startReplica();
  }
  const { length } = await occurrences();
  await vi.waitFor(async () => expect((await occurrences()).length).toBeGreaterThan(length + 1), 20_000);
  await client().schedules.pause('tick', { reason: 'enough' });
  await vi.waitFor(async () => {
    expect((await occurrences()).filter(({ state }) => state !== 'STARTED')).toEqual([]);
  }, 20_000);

  const rows = await occurrences();
  const seconds = rows.map(({ at_ms }) => Number(at_ms) / 1_000);
  expect(seconds).toEqual(Array.from({ length: rows.length }, (_, index) => seconds[0]! + index));
  const runs = await system.query<{ run_id: string; reference: string }>(
    `select run_id, trigger ->> 'reference' as reference from runs`,
  );
  expect(runs.map(({ run_id }) => run_id).toSorted()).toEqual(rows.map(({ run_id }) => run_id!).toSorted());
  expect(new Set(runs.map(({ reference }) => reference)).size).toBe(rows.length);
  // All of them come to their end, whoever created them.
  await system.startDriver({ name: 'ticker', slots: 20 });
  await vi.waitFor(async () => {
    const ended = await Array.fromAsync(client().runs.list({ labels: { 'conveyor.dev/schedule': 'tick' } }));
    expect(new Set(ended.map(({ state }) => state))).toEqual(new Set([RunState.SUCCEEDED]));
  }, 30_000);
}, 90_000);

test('what all servers slept through is run once, at whichever is started', async () => {
  const { schedules } = client();
  await schedules.apply({
    name: 'often',
    spec: {
      run: { source: { case: 'definition', value: { jobs: [jobOf('nobody', { steps: [] })] } } },
      cron: ['* * * * *'],
      overlapPolicy: ScheduleOverlapPolicy.ALLOW,
      missedPolicy: ScheduleMissedPolicy.RUN_ONCE,
    },
  });
  expect(await schedules.upcoming('often', 2)).toHaveLength(2);
  for (const replica of running()) expect(await replica.kill()).toBe('SIGKILL');
  // Ten minutes in a moment.
  await system.query('update schedules set cursor_ms = cursor_ms - 600000, due_ms = due_ms - 600000');
  const { client: late } = await system.startReplica();
  const listed = async () => await Array.fromAsync(late.schedules.occurrences('often'));
  await vi.waitFor(async () => expect((await listed()).length).toBeGreaterThanOrEqual(9), 20_000);
  await vi.waitFor(async () => {
    const states = (await listed()).map(({ state }) => state);
    expect(states).not.toContain(ScheduleOccurrenceState.STARTING);
    const started = states.filter((state) => state === ScheduleOccurrenceState.STARTED).length;
    // The newest of those that were missed, and perhaps what has come since.
    expect([1, 2, 3]).toContain(started);
    expect(states.slice(started).every((state) => state === ScheduleOccurrenceState.SKIPPED)).toBe(true);
  }, 20_000);
}, 60_000);
