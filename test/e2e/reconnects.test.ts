// What a driver is told when it connects again: no more than it can take, and nothing new before what it gave up is settled.
import { RunState } from '@conveyor/client';
import { HeldPhase, VerdictKind } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { Client } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { attemptsOf, createJob, finishedJob, jobOf } from './jobs.ts';
import { addressOf, type DriverFrameInit, finishFrame, type RawSession } from './raw-driver.ts';
import { type Replica, startSystem, type System } from './system.ts';

let system: System;
let replica: Replica;
beforeAll(async () => {
  system = await startSystem({ replicas: 1 });
  replica = system.replicas[0]!;
});
afterAll(() => system[Symbol.asyncDispose]());

const output = (attempt: { attemptId: string; fence: number }, key: string, text: string): DriverFrameInit => ({
  case: 'output',
  value: { ...addressOf(attempt), key, value: { kind: { case: 'stringValue', value: text } } },
});

test('a slot is free for another job once what the driver gave up has ended, and not before', async () => {
  const driver = 'forgetful';
  const hello = { driver, incarnation: Buffer.alloc(16, 1) };
  const job = { retry: { infrastructure: 1 } };
  const given = await createJob(replica.client, jobOf(driver, { steps: [] }, job));
  const before = await system.openSession({ at: replica, hello });
  await before.startNext();
  const next = await createJob(replica.client, jobOf(driver, { steps: [] }));
  before[Symbol.dispose]();
  // Whoever has the run keeps it from ending.
  const holder = new Client({ connectionString: system.database.connection });
  await holder.connect();
  try {
    await holder.query('begin');
    await holder.query(`select 1 from ${system.database.schema}.runs where run_id = $1 for update`, [given.runId]);
    const after = await system.openSession({ at: replica, hello });
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(after.arrived('offer')).toEqual([]);
    await holder.query('rollback');
    const offer = await after.startNext();
    expect([given.jobId, next.jobId].some((jobId) => offer.attemptId.startsWith(jobId))).toBe(true);
    expect((await attemptsOf(replica.client, given.jobId))[0]).toMatchObject({ state: 'LOST' });
    after.say(finishFrame(offer));
    const last = await after.startNext();
    after.say(finishFrame(last));
    await Promise.all([given, next].map((one) => finishedJob(replica.client, one)));
  } finally {
    await holder.end();
  }
});

test('what a Welcome has no room to start is stopped and tried again', async () => {
  const driver = 'accepter';
  const count = 40;
  const names = Array.from({ length: count }, (_, n) => `job-${n}`);
  const hello = { driver, incarnation: Buffer.alloc(16, 2), slots: count };
  const { runId } = await replica.client.runs.create({
    definition: {
      jobs: [
        jobOf(driver, { steps: [] }, { name: 'source' }),
        ...names.map((name) => jobOf(driver, { steps: [] }, { name, needs: ['source'], retry: { infrastructure: 5 } })),
      ],
    },
  });
  const before = await system.openSession({ at: replica, hello });
  const source = await before.startNext();
  before.say(output(source, 'large', 'x'.repeat(60_000)));
  before.say(finishFrame(source));
  const started = [];
  for (const _ of names) started.push(await before.startNext());
  before[Symbol.dispose]();
  // It had said Accept, and knows of no Start.
  const held = started.map((attempt) => ({ ...addressOf(attempt), phase: HeldPhase.ACCEPTED }));
  const after = await system.openSession({ at: replica, hello: { ...hello, held } });
  const kinds = Map.groupBy(after.welcome.verdicts, ({ kind }) => VerdictKind[kind]);
  expect([...kinds.keys()].toSorted()).toEqual(['START', 'STOP']);
  expect(kinds.get('START')!.length).toBeGreaterThan(20);
  await finishAll(after, kinds.get('START')!, kinds.get('STOP')!.length);
  expect((await replica.client.runs.finished(runId)).state).toBe(RunState.SUCCEEDED);
});

/** Finishes what a Welcome started, and what is offered again. */
async function finishAll(session: RawSession, started: readonly { attemptId: string; fence: number }[], again: number) {
  for (const verdict of started) session.say(finishFrame(verdict));
  for (let n = 0; n < again; n++) session.say(finishFrame(await session.startNext()));
}
