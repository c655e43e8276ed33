// One run that somebody has locked for long, and everybody else: each loop of a replica has something to do for it, and goes on with the
// others all the same.
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { JobDefinition } from '../core/definition.ts';
import type { RunId } from '../core/ids.ts';
import type { OverlapPolicy, ScheduleSpec } from '../core/schedule.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import type { RunningEngine } from './start-engine.ts';
import { type EngineFixture, openEngineFixture } from './testing/engine-fixture.ts';
import { type LedgerFixture, openLedgerFixture } from './testing/ledger-fixture.ts';

const project = 'default';
const trigger = { kind: 'api', actor: '', reference: '' };
const warnings: Error[] = [];
const noteWarning = (warning: Error): void => void warnings.push(warning);

let fixture: EngineFixture;
let engine: RunningEngine;
let ledger: LedgerFixture;
let release = async (): Promise<void> => undefined;
let held: RunId;

beforeAll(async () => {
  process.on('warning', noteWarning);
  // Nobody gives up waiting for a lock while the test lasts.
  fixture = await openEngineFixture({ lockTimeoutMs: 100_000, statementTimeoutMs: 100_000 });
  ({ engine } = fixture);
  ledger = await openLedgerFixture(fixture.database);
  await hold();
});
afterAll(async () => {
  await release();
  await ledger[Symbol.asyncDispose]();
  await fixture[Symbol.asyncDispose]();
  process.off('warning', noteWarning);
});

const gate = { message: '', approvers: [], quorum: 1, onTimeout: 'FAIL' } as const;
const inGroup = (key: string) => jobNamed('placed', { concurrency: { key, limit: 1, policy: 'QUEUE' } });
const calling = jobNamed('calling', { driver: '', call: { pipeline: 'asking', params: {} } });

async function createRun(...jobs: JobDefinition[]): Promise<RunId> {
  return (await engine.runs.create(project, { definition: definitionOf(...jobs), params: {}, labels: {}, trigger }))
    .runId;
}

async function sql(text: string, ...values: unknown[]): Promise<Record<string, unknown>[]> {
  return (await ledger.pool.query(text, values)).rows;
}

const jobOf = (runId: RunId, job = 0) => engine.jobs.get(project, { runId, job });

/** Also before the tests begin. */
async function until(check: () => Promise<void>): Promise<void> {
  await vi.waitFor(check, { timeout: 15_000, interval: 20 });
}

async function becomes(runId: RunId, state: string, job = 0): Promise<void> {
  await until(async () => expect((await jobOf(runId, job)).state).toBe(state));
}

async function childOf(runId: RunId, job = 0): Promise<RunId> {
  await until(async () => expect((await jobOf(runId, job)).childRun).toBeDefined());
  return (await jobOf(runId, job)).childRun as RunId;
}

/** A driver that has begun a job, and is not heard of any more. */
async function abandon(runId: RunId, job: number, name: string): Promise<number> {
  const instance = await ledger.connect(name, name);
  await ledger.submit(runId, { type: 'Offer', job, instance, instanceId: name });
  await ledger.submit(runId, { type: 'Accept', job, attempt: 1, instance });
  return instance;
}

const expire = (instance: number) => sql('update leases set expires_ms = 1 where instance_no = $1', instance);

function everySecond(overlap: OverlapPolicy): ScheduleSpec {
  const run = { definition: definitionOf(jobNamed('tick')), params: {}, labels: {} };
  const policies = { overlap, missed: 'RUN_ONCE', catchUpMs: 60_000, maxCatchUp: 1, pausedIsMissed: false } as const;
  return { run, cron: ['* * * * * *'], timeZone: 'UTC', ...policies };
}

/** Locks a run, and then gives every loop something to do for it; a run of a schedule that is to be cancelled is another one. */
async function hold(): Promise<void> {
  await engine.pipelines.apply(project, 'asking', definitionOf(jobNamed('ask', { driver: '', gate })));
  const holder = await createRun(inGroup('held'));
  await becomes(holder, 'QUEUED');
  held = await createRun(jobNamed('timed'), inGroup('held'), calling, jobNamed('running'));
  await becomes(held, 'WAITING', 1);
  const child = await childOf(held, 2);
  const instance = await abandon(held, 3, 'silent');
  await sql('update cluster set grace_until_ms = 0');
  await engine.schedules.apply(project, 'stuck', everySecond('CANCEL_RUNNING'), false);

  const client = await ledger.pool.connect();
  await client.query('begin');
  await client.query('set local idle_in_transaction_session_timeout = 0');
  release = async () => {
    await client.query('rollback');
    client.release();
  };
  await client.query('select from runs where run_id = $1 for update', [held]);
  const lockNewest = `select from runs where finished_ms is null and trigger ->> 'reference' like 'schedules/stuck/%' for update`;
  await until(async () => expect((await client.query(lockNewest)).rowCount).toBeGreaterThan(0));

  await sql('update jobs set due_ms = 1 where run_id = $1 and job = 0', held);
  await engine.runs.cancel(project, holder, 'its place is wanted', true);
  const yes = { verdict: 'APPROVE', actor: 'ada', groups: [], answers: {}, comment: '' } as const;
  await engine.jobs.answerGate(project, { runId: child, job: 0 }, yes);
  await expire(instance);
}

// One after the other: what is found together with the held run is done together with it.
const TURNS = [1, 2, 3];

test('timers of others are fired', async () => {
  for (const _ of TURNS) {
    const runId = await createRun(jobNamed('one', { timeouts: { ...jobNamed('x').timeouts, queueMs: 20 } }));
    await becomes(runId, 'FAILED');
  }
});

test('places of other groups are given', async () => {
  for (const turn of TURNS) await becomes(await createRun(inGroup(`free-${turn}`)), 'QUEUED');
});

test('calls of others have their runs made, and end with them', async () => {
  for (const _ of TURNS) {
    const runId = await createRun(calling);
    await engine.runs.cancel(project, await childOf(runId), 'enough', true);
    await becomes(runId, 'CANCELLED');
  }
});

test('occurrences of other schedules come, each in its time', async () => {
  await engine.schedules.apply(project, 'other', everySecond('ALLOW'), false);
  const made = `select o.at_ms from occurrences o join schedules s using (schedule_id) where s.name = 'other' and o.run_id is not null`;
  await until(async () => expect((await sql(made)).length).toBeGreaterThanOrEqual(TURNS.length));
});

test('attempts of other drivers are rescued, and their leases go', async () => {
  for (const turn of TURNS) {
    const runId = await createRun(jobNamed('one'));
    const instance = await abandon(runId, 0, `gone-${turn}`);
    await expire(instance);
    await until(async () => expect(await sql('select from leases where instance_no = $1', instance)).toEqual([]));
    expect((await jobOf(runId)).state).not.toBe('RUNNING');
  }
});

test('the run is still held, everything of it to be done', async () => {
  expect(await Promise.all([0, 1, 2, 3].map(async (job) => (await jobOf(held, job)).state))).toEqual([
    'QUEUED',
    'WAITING',
    'WAITING',
    'RUNNING',
  ]);
});

test('no connection is asked for a second thing before it has answered the first', () => {
  expect(warnings.filter(({ message }) => message.includes('already executing a query'))).toEqual([]);
});
