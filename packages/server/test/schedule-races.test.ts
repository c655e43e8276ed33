// Two replicas over one database let the same occurrences come, and are cut off, frozen and overtaken in between: each occurrence still
// makes exactly one run, and every one is accounted for.
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { OverlapPolicy, ScheduledRun, ScheduleSpec } from '../src/core/schedule.ts';
import { definitionOf, jobNamed } from '../src/core/testing/definitions.ts';
import type { RunCreation } from '../src/engine/run-creation.ts';
import { createScheduler } from '../src/engine/scheduler.ts';
import { startTwoEngines, type TwoEngines } from './two-engines.ts';
import { checkLedger } from '../src/store/testing/check-ledger.ts';

const log = pino({ level: 'silent' });
const project = 'default';
const definition = definitionOf(jobNamed('build', { driver: 'nobody' }));

let both: TwoEngines;
beforeEach(async () => {
  both = await startTwoEngines();
});
afterEach(() => both[Symbol.asyncDispose]());

function specOf(cron: string, overlap: OverlapPolicy, run: ScheduledRun): ScheduleSpec {
  const policies = {
    overlap,
    missed: 'RUN_ALL',
    catchUpMs: 86_400_000,
    maxCatchUp: 100,
    pausedIsMissed: false,
  } as const;
  return { run, cron: [cron], timeZone: 'UTC', ...policies };
}

const inline: ScheduledRun = { definition, params: {}, labels: {} };

async function states(): Promise<string[]> {
  return (await both.sql.query<{ state: string }>('select state from occurrences order by at_ms')).rows.map(
    (row) => row.state,
  );
}

async function countRuns(): Promise<number> {
  return (await both.sql.query<{ n: number }>('select count(*) as n from runs')).rows[0]!.n;
}

test('of two replicas whose connections are cut all the time, each occurrence makes one run', async () => {
  const overlaps: OverlapPolicy[] = ['ALLOW', 'SKIP', 'QUEUE_ONE', 'CANCEL_RUNNING'];
  const names = Array.from({ length: 24 }, (_, index) => `tick-${index}`);
  for (const [index, name] of names.entries()) {
    await both.engines[index % 2]!.schedules.apply(project, name, specOf('* * * * * *', overlaps[index % 4]!, inline));
  }
  /** How many times of the schedule that came least often are decided on. */
  async function fewest(): Promise<number> {
    const { rows } = await both.sql.query<{ n: number }>(
      `select count(at_ms) as n from schedules left join occurrences using (schedule_id) group by schedule_id order by n limit 1`,
    );
    return rows[0]!.n;
  }
  /** How many runs were cancelled for the next one. */
  async function cancelled(): Promise<number> {
    const { rows } = await both.sql.query<{ n: number }>(`select count(*) as n from runs where state = 'CANCELLED'`);
    return rows[0]!.n;
  }
  let cut = 0;
  for (let round = 0; round < 400; round++) {
    if (cut >= 50 && (await fewest()) >= 6 && (await cancelled()) >= 3) break;
    const { rowCount } = await both.sql.query(
      `select pg_terminate_backend(pid) from (
         select pid from pg_stat_activity where datname = current_database() and application_name ~ '^conveyor (pool|creates|transitions)$'
         order by random() limit 1
       ) victims`,
    );
    cut += rowCount ?? 0;
    await delay(80);
  }
  // Nothing new comes while what has begun is finished.
  await both.sql.query(`update schedules set paused_ms = 1, due_ms = 0`);
  await vi.waitFor(async () => expect((await states()).filter((state) => state === 'STARTING')).toEqual([]), {
    timeout: 25_000,
    interval: 200,
  });

  expect(cut).toBeGreaterThanOrEqual(50);
  const { rows: doubled } = await both.sql.query(
    `select trigger ->> 'reference' from runs group by 1 having count(*) > 1`,
  );
  expect(doubled).toEqual([]);
  const { rows: orphans } = await both.sql.query(
    'select r.run_id from runs r full join occurrences o on o.run_id = r.run_id where o.state is distinct from $1 and r.run_id is not null',
    ['STARTED'],
  );
  expect(orphans).toEqual([]);
  // Every second between the first and the last is there, with a run or with a reason.
  const { rows: kept } = await both.sql.query<{ missing: number; count: number }>(
    `select (max(at_ms) - min(at_ms)) / 1000 + 1 - count(*) as missing, count(*) as count
     from occurrences where origin = 'TIME' group by schedule_id`,
  );
  expect(kept).toHaveLength(names.length);
  expect(kept.filter(({ missing }) => missing !== 0)).toEqual([]);
  expect(Math.min(...kept.map(({ count }) => count))).toBeGreaterThan(5);
  // Runs that must not overlap did not, at any time.
  const { rows: overlapping } = await both.sql.query<{ name: string }>(
    `with made as (select s.name, s.spec ->> 'overlap' as overlap, r.run_id, r.created_ms, r.finished_ms
       from schedules s join occurrences o using (schedule_id) join runs r using (run_id))
     select a.name from made a join made b on a.name = b.name and a.run_id < b.run_id
     where a.overlap <> 'ALLOW' and (a.finished_ms is null or a.finished_ms > b.created_ms)`,
  );
  expect(overlapping).toEqual([]);
  const { rows: made } = await both.sql.query<{ overlap: string; n: number }>(
    `select s.spec ->> 'overlap' as overlap, count(*) as n from occurrences join schedules s using (schedule_id)
     where state = 'STARTED' group by 1`,
  );
  const count = Object.fromEntries(made.map(({ overlap, n }) => [overlap, n]));
  // Six schedules of each: one run ends only where the next one cancels it.
  expect(count).toMatchObject({ SKIP: 6, QUEUE_ONE: 6 });
  expect(count['ALLOW']).toBeGreaterThan(6);
  expect(await cancelled()).toBeGreaterThanOrEqual(3);
  await checkLedger(both.sql);
}, 90_000);

/** A replica that stops right before it creates the run of an occurrence, and goes on when it is told to. */
async function freezeBeforeCreating(name: string) {
  const gate = Promise.withResolvers<void>();
  const creation: RunCreation = {
    async create(owner, run) {
      await gate.promise;
      return { runId: (await both.engines[0]!.runs.create(owner, run)).runId, view: undefined, warnings: [] };
    },
    prepare: () => Promise.reject(new Error('not asked for')),
    check: () => Promise.reject(new Error('not asked for')),
    createBatch: () => Promise.reject(new Error('not asked for')),
  };
  const submit = () => Promise.reject(new Error('not asked for'));
  const ledger = { submit, [Symbol.asyncDispose]: () => Promise.resolve() };
  const frozen = createScheduler({ pool: both.pools[0]!.pool, ledger, creation, log });
  const { rows } = await both.sql.query<{ id: string }>('select schedule_id as id from schedules where name = $1', [
    name,
  ]);
  // The other replicas have looked at it, and see no reason to look again.
  await vi.waitFor(async () => {
    const { rowCount } = await both.sql.query(
      'select from schedules where name = $1 and due_ms > extract(epoch from now()) * 1000 + 1000',
      [name],
    );
    expect(rowCount).toBe(1);
  });
  await both.sql.query(
    `insert into occurrences (schedule_id, at_ms, project, state, origin, open, decided_ms)
     values ($1, 1, 'default', 'QUEUED', 'TRIGGER', true, 1)`,
    [rows[0]!.id],
  );
  const gone = frozen.lookAt(rows[0]!.id);
  await vi.waitFor(async () => expect(await states()).toEqual(['STARTING']));
  return {
    /** As if the hold had run out. */
    overtake: () => both.sql.query('update schedules set due_ms = 0, held_ms = null'),
    async thaw() {
      gate.resolve();
      await gone;
    },
  };
}

test('a replica that was overtaken before it created the run creates none', async () => {
  await both.engines[1]!.schedules.apply(project, 'once', specOf('@yearly', 'ALLOW', inline));
  const replica = await freezeBeforeCreating('once');
  expect(await countRuns()).toBe(0);
  await replica.overtake();
  await vi.waitFor(async () => expect(await states()).toEqual(['STARTED']));
  await replica.thaw();
  expect(await states()).toEqual(['STARTED']);
  expect(await countRuns()).toBe(1);
});

test('a failure that was recorded stays one, when the replica that was overtaken could create the run after all', async () => {
  const run = { pipeline: { name: 'ci' }, params: {}, labels: {} };
  await both.engines[1]!.pipelines.apply(project, 'ci', definition);
  await both.engines[1]!.schedules.apply(project, 'once', specOf('@yearly', 'ALLOW', run));
  const replica = await freezeBeforeCreating('once');
  await both.engines[1]!.pipelines.delete(project, 'ci');
  await replica.overtake();
  await vi.waitFor(async () => expect(await states()).toEqual(['FAILED']));
  await both.engines[1]!.pipelines.apply(project, 'ci', definition);
  await replica.thaw();
  expect(await states()).toEqual(['FAILED']);
  expect(await countRuns()).toBe(0);
});

test('a run that was made is found, when it can no longer be created', async () => {
  const run = { pipeline: { name: 'ci' }, params: {}, labels: {} };
  await both.engines[1]!.pipelines.apply(project, 'ci', definition);
  await both.engines[1]!.schedules.apply(project, 'once', specOf('@yearly', 'ALLOW', run));
  await both.engines[1]!.schedules.trigger(project, 'once');
  // As if the replica had died between the run and the record of it.
  await both.sql.query(`update occurrences set state = 'STARTING', run_id = null`);
  await both.engines[1]!.pipelines.delete(project, 'ci');
  await both.sql.query('update schedules set due_ms = 0');
  await vi.waitFor(async () => expect(await states()).toEqual(['STARTED']));
  const { rows } = await both.sql.query('select from occurrences join runs using (run_id)');
  expect(rows).toHaveLength(1);
  expect(await countRuns()).toBe(1);
});

test('a schedule that was deleted makes no run any more, whoever was about to create it', async () => {
  await both.engines[1]!.schedules.apply(project, 'once', specOf('@yearly', 'ALLOW', inline));
  const replica = await freezeBeforeCreating('once');
  await both.engines[1]!.schedules.delete(project, 'once');
  await replica.thaw();
  expect(await countRuns()).toBe(0);
});

test('of many triggers at once at both replicas each makes its run, and none waits for another one in vain', async () => {
  await both.engines[1]!.schedules.apply(project, 'once', specOf('@yearly', 'ALLOW', inline));
  const asked = Array.from({ length: 60 }, (_, index) => both.engines[index % 2]!.schedules.trigger(project, 'once'));
  const made = await Promise.all(asked);
  expect(new Set(made.map(({ runId }) => runId)).size).toBe(60);
  expect(made.every(({ state }) => state === 'STARTED')).toBe(true);
  expect(await countRuns()).toBe(60);
});
