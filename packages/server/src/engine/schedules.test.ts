// Schedules over a real database and a running engine: what is applied, what becomes of occurrences, and what of their runs.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { RunId } from '../core/ids.ts';
import type { FieldViolation } from '../core/refusal.ts';
import { type OccurrenceView, SCHEDULE_LABEL, type ScheduleSpec } from '../core/schedule.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import type { RunView } from '../core/views.ts';
import { forgetOccurrences } from '../store/occurrence-rows.ts';
import { withConnection } from '../store/pool.ts';
import { forgetRequestIds } from '../store/run-rows.ts';
import type { RunningEngine } from './start-engine.ts';
import { type EngineFixture, openEngineFixture } from './testing/engine-fixture.ts';

const project = 'default';
const name = 'tick';
const definition = definitionOf(jobNamed('build', { driver: 'nobody' }));

let fixture: EngineFixture;
let engine: RunningEngine;

beforeEach(async () => {
  fixture = await openEngineFixture();
  ({ engine } = fixture);
});
afterEach(() => fixture[Symbol.asyncDispose]());

/** A schedule that comes once a year, unless it says otherwise. */
function specOf(change: Partial<ScheduleSpec> = {}): ScheduleSpec {
  return {
    run: { definition, params: {}, labels: { kind: 'test' } },
    cron: ['@yearly'],
    timeZone: 'UTC',
    overlap: 'SKIP',
    missed: 'RUN_ONCE',
    catchUpMs: 86_400_000,
    maxCatchUp: 10,
    pausedIsMissed: false,
    ...change,
  };
}

const every = { second: ['* * * * * *'], minute: ['* * * * *'] };
const refused = (reason: string) => ({ refusal: { refused: reason } });

async function past(): Promise<readonly OccurrenceView[]> {
  return (await engine.schedules.occurrences(project, name, 0, { size: 100 })).past.items;
}

async function openRuns(): Promise<readonly RunView[]> {
  const filter = { states: ['PENDING', 'RUNNING', 'CANCELLING'], labels: { [SCHEDULE_LABEL]: name } } as const;
  return (await engine.runs.list(project, filter, { size: 1_000 })).items;
}

/** Ends a run: nothing of it has started. */
async function end(runId: RunId | undefined): Promise<void> {
  await engine.runs.cancel(project, runId!, 'the test is done with it', true);
}

/** As if nobody had looked at the schedule for so long. */
async function sleep(ms: number): Promise<void> {
  await fixture.pools.pool.query('update schedules set cursor_ms = cursor_ms - $1, due_ms = 0 where name = $2', [
    ms,
    name,
  ]);
}

describe('a schedule that is applied', () => {
  test('is there, changes, and the same again changes nothing', async () => {
    const created = await engine.schedules.apply(project, name, specOf());
    expect(created).toMatchObject({ changed: true, schedule: { project, name, spec: specOf() } });
    expect(created.warnings).toEqual([expect.stringContaining('nobody')]);
    expect(new Date(created.schedule.nextMs!).toISOString()).toMatch(/-01-01T00:00:00.000Z$/);
    expect(await engine.schedules.apply(project, name, specOf())).toMatchObject({
      changed: false,
      schedule: created.schedule,
    });
    const changed = await engine.schedules.apply(project, name, specOf({ overlap: 'ALLOW', cron: ['@monthly'] }));
    expect(changed).toMatchObject({ changed: true, schedule: { spec: { overlap: 'ALLOW' } } });
    expect(changed.schedule.createdMs).toBe(created.schedule.createdMs);
    expect(await engine.schedules.get(project, name)).toEqual(changed.schedule);
  });

  test('of many at once is made by one', async () => {
    const applied = await Promise.all(Array.from({ length: 8 }, () => engine.schedules.apply(project, name, specOf())));
    expect(applied.filter(({ changed }) => changed)).toHaveLength(1);
    expect((await engine.schedules.list(project, { size: 10 })).items).toHaveLength(1);
  });

  test('is refused when its run would be', async () => {
    const run = { pipeline: { name: 'ci' }, params: { count: 'many' }, labels: {} };
    const apply = engine.schedules.apply(project, name, specOf({ run }));
    await expect(apply).rejects.toMatchObject(refused('PIPELINE_NOT_FOUND'));
    const paramsSchema = { type: 'object', properties: { count: { type: 'integer' } } };
    await engine.pipelines.apply(project, 'ci', { ...definition, paramsSchema });
    await expect(engine.schedules.apply(project, name, specOf({ run }))).rejects.toMatchObject({
      refusal: {
        refused: 'INVALID_FIELD',
        message: expect.stringMatching(/^spec\.run\.params/),
        violations: [{ field: expect.stringMatching(/^spec\.run\.params/) }],
      },
    });
  });

  test('is validated as it would be applied, together with what was found before, and nothing is written', async () => {
    const run = { pipeline: { name: 'ci' }, params: { count: 'many' }, labels: {} };
    const cron = { field: 'spec.cron[0]', description: 'is no cron expression' };
    const validate = (...found: FieldViolation[]) => engine.schedules.validate(project, name, specOf({ run }), found);
    await expect(validate()).rejects.toMatchObject(refused('PIPELINE_NOT_FOUND'));
    await expect(validate(cron)).rejects.toMatchObject({
      refusal: {
        refused: 'INVALID_FIELD',
        violations: [cron, { field: 'spec.run', description: expect.stringContaining('pipeline ci does not exist') }],
      },
    });
    const paramsSchema = { type: 'object', properties: { count: { type: 'integer' } } };
    await engine.pipelines.apply(project, 'ci', { ...definition, paramsSchema });
    await expect(validate(cron)).rejects.toMatchObject({
      refusal: { violations: [cron, { field: 'spec.run.params.count' }] },
    });
    // What is wrong with its run already is not looked at again.
    const wrong = { field: 'spec.run.labels', description: 'is wrong' };
    await expect(validate(wrong)).rejects.toMatchObject({ refusal: { violations: [wrong] } });
    const warnings = await engine.schedules.validate(project, name, specOf(), []);
    expect(warnings).toEqual([expect.stringContaining('nobody')]);
    expect((await engine.schedules.list(project, { size: 10 })).items).toEqual([]);
  });

  test('can be made as a paused one, and be resumed', async () => {
    const { schedule } = await engine.schedules.apply(project, name, specOf({ cron: every.second }), true);
    expect(schedule).toMatchObject({ paused: { reason: '' } });
    expect(schedule).not.toHaveProperty('nextMs');
    const same = await engine.schedules.apply(project, name, specOf({ cron: every.second }));
    expect(same).toMatchObject({ changed: false, schedule: { paused: {} } });
    const resumed = await engine.schedules.apply(project, name, specOf({ cron: every.second }), false);
    expect(resumed.schedule).not.toHaveProperty('paused');
    await expect.poll(past).not.toEqual([]);
  });

  test('is listed by name, page by page, without its definition', async () => {
    for (const each of ['c', 'a', 'b']) await engine.schedules.apply(project, each, specOf());
    const page = await engine.schedules.list(project, { size: 2 });
    const rest = await engine.schedules.list(project, { size: 2, after: page.next! });
    expect([...page.items, ...rest.items].map((one) => one.name)).toEqual(['a', 'b', 'c']);
    expect(page.items[0]!.spec.run).not.toHaveProperty('definition');
    expect(rest.next).toBeUndefined();
    expect((await engine.schedules.list('another', { size: 2 })).items).toEqual([]);
  });

  test('is not found where it is not', async () => {
    const missing = refused('SCHEDULE_NOT_FOUND');
    const range = { fromMs: 0, untilMs: 1, parallel: 1 };
    await engine.schedules.apply(project, name, specOf());
    for (const [owner, of] of [
      [project, 'none'],
      ['another', name],
    ] as const) {
      await expect(engine.schedules.get(owner, of)).rejects.toMatchObject(missing);
      await expect(engine.schedules.delete(owner, of)).rejects.toMatchObject(missing);
      await expect(engine.schedules.pause(owner, of, '')).rejects.toMatchObject(missing);
      await expect(engine.schedules.resume(owner, of)).rejects.toMatchObject(missing);
      await expect(engine.schedules.trigger(owner, of)).rejects.toMatchObject(missing);
      await expect(engine.schedules.backfill(owner, of, range)).rejects.toMatchObject(missing);
      await expect(engine.schedules.occurrences(owner, of, 1, { size: 1 })).rejects.toMatchObject(missing);
    }
  });
});

describe('an occurrence', () => {
  test('makes one run when its time comes, which tells of both', async () => {
    await engine.schedules.apply(project, name, specOf({ cron: every.second, overlap: 'ALLOW' }));
    await vi.waitFor(async () => expect(await past()).toHaveLength(3), { timeout: 15_000 });
    const occurrences = (await past()).filter(({ state }) => state === 'STARTED').slice(-2);
    for (const { atMs, runId, origin, decidedMs } of occurrences) {
      expect({ whole: atMs % 1_000, origin }).toEqual({ whole: 0, origin: 'TIME' });
      expect(decidedMs - atMs).toBeGreaterThanOrEqual(0);
      const run = await engine.runs.get(project, runId!);
      expect(run.labels).toEqual({ kind: 'test', [SCHEDULE_LABEL]: name });
      const reference = `schedules/${name}/${new Date(atMs).toISOString()}`;
      expect(run.trigger).toEqual({ kind: 'schedule', actor: '', reference });
    }
    const times = (await past()).map(({ atMs }) => atMs);
    expect(new Set(times).size).toBe(times.length);
  });

  test('that cannot make a run says why, and the schedule goes on', async () => {
    await engine.pipelines.apply(project, 'ci', definition);
    const run = { pipeline: { name: 'ci' }, params: {}, labels: {} };
    await engine.schedules.apply(project, name, specOf({ run }));
    await engine.pipelines.delete(project, 'ci');
    expect(await engine.schedules.trigger(project, name)).toMatchObject({
      state: 'FAILED',
      failure: { reason: 'PIPELINE_NOT_FOUND', message: expect.stringContaining('ci') },
    });
    await engine.pipelines.apply(project, 'ci', definition);
    expect(await engine.schedules.trigger(project, name)).toMatchObject({ state: 'STARTED' });
    expect((await past()).map(({ state }) => state)).toEqual(['STARTED', 'FAILED']);
  });

  test('runs the newest revision, unless one is named', async () => {
    await engine.pipelines.apply(project, 'ci', definition);
    const run = { pipeline: { name: 'ci' }, params: {}, labels: {} };
    await engine.schedules.apply(project, name, specOf({ run, overlap: 'ALLOW' }));
    await engine.pipelines.apply(project, 'ci', definitionOf(jobNamed('test', { driver: 'nobody' })));
    const newest = await engine.schedules.trigger(project, name);
    expect(await engine.runs.get(project, newest.runId!)).toMatchObject({ pipeline: 'ci', revision: 2 });
    const pinned = { ...run, pipeline: { name: 'ci', revision: 1 } };
    await engine.schedules.apply(project, name, specOf({ run: pinned, overlap: 'ALLOW' }));
    const first = await engine.schedules.trigger(project, name);
    expect(await engine.runs.get(project, first.runId!)).toMatchObject({ pipeline: 'ci', revision: 1 });
  });

  test('is told of before it comes, also while the schedule is paused', async () => {
    await engine.schedules.apply(project, name, specOf({ cron: ['0 0 29 2 *'] }), true);
    const { upcoming } = await engine.schedules.occurrences(project, name, 3, { size: 1 });
    expect(upcoming.map((ms) => new Date(ms).toISOString().slice(5))).toEqual(Array(3).fill('02-29T00:00:00.000Z'));
    expect(upcoming).toEqual(upcoming.toSorted((a, b) => a - b));
  });

  test('is listed newest first, page by page', async () => {
    await engine.schedules.apply(project, name, specOf({ overlap: 'ALLOW' }));
    for (let i = 0; i < 3; i++) await engine.schedules.trigger(project, name);
    const all = await past();
    const first = await engine.schedules.occurrences(project, name, 0, { size: 2 });
    const rest = await engine.schedules.occurrences(project, name, 0, { size: 2, after: first.past.next! });
    expect([...first.past.items, ...rest.past.items]).toEqual(all);
    expect(all.map(({ atMs }) => atMs)).toEqual(all.map(({ atMs }) => atMs).toSorted((a, b) => b - a));
    expect(rest.past.next).toBeUndefined();
    const wrong = engine.schedules.occurrences(project, name, 0, { size: 2, after: 'x' });
    await expect(wrong).rejects.toMatchObject(refused('INVALID_CURSOR'));
  });

  test('that is old is forgotten, unless its run is open', async () => {
    await engine.schedules.apply(project, name, specOf());
    const { runId } = await engine.schedules.trigger(project, name);
    const second = await engine.schedules.trigger(project, name);
    expect(second).toMatchObject({ state: 'SKIPPED', skip: 'OVERLAP' });
    const soon = Date.now() + 60_000;
    expect(await withConnection(fixture.pools.pool, (tx) => forgetOccurrences(tx, soon, 10))).toBe(1);
    expect(await past()).toMatchObject([{ runId }]);
  });

  test('of a schedule with many is forgotten before they are too many', async () => {
    await engine.schedules.apply(project, name, specOf({ overlap: 'ALLOW' }));
    await fixture.pools.pool.query(
      `insert into occurrences (schedule_id, at_ms, project, state, origin, open, skip, decided_ms)
       select schedule_id, n * 1000, project, 'SKIPPED', 'TIME', false, 'MISSED', n from schedules, generate_series(1, 10500) n`,
    );
    await fixture.pools.pool.query('update schedules set unpruned = 499');
    await engine.schedules.apply(project, name, specOf({ cron: every.second }));
    const count = async () =>
      (await fixture.pools.pool.query<{ n: number }>('select count(*) as n from occurrences')).rows[0]!.n;
    await expect.poll(count).toBeLessThanOrEqual(10_010);
    expect(await count()).toBeGreaterThanOrEqual(10_000);
  });
});

describe('a trigger', () => {
  test('named by a request id comes once, and again is answered with the same', async () => {
    await engine.schedules.apply(project, name, specOf({ overlap: 'ALLOW' }));
    const asked = await Promise.all([1, 2, 3].map(() => engine.schedules.trigger(project, name, 'now')));
    expect(new Set(asked.map(({ runId }) => runId)).size).toBe(1);
    expect(await openRuns()).toHaveLength(1);
    const other = engine.schedules.backfill(project, name, { fromMs: 0, untilMs: 1, parallel: 1, requestId: 'now' });
    await expect(other).rejects.toMatchObject(refused('REQUEST_ID_REUSED'));
  });

  test('keeps to the overlap policy, also when a schedule is paused', async () => {
    await engine.schedules.apply(project, name, specOf({ overlap: 'QUEUE_ONE' }), true);
    const first = await engine.schedules.trigger(project, name);
    expect(first).toMatchObject({ state: 'STARTED', origin: 'TRIGGER' });
    expect(await engine.schedules.trigger(project, name)).toMatchObject({ state: 'QUEUED' });
    expect(await engine.schedules.trigger(project, name)).toMatchObject({ state: 'SKIPPED', skip: 'OVERLAP' });
    await end(first.runId);
    await expect.poll(async () => (await past()).map(({ state }) => state)).toEqual(['SKIPPED', 'STARTED', 'STARTED']);
  });

  test('cancels what runs where the policy says so, and then starts', async () => {
    await engine.schedules.apply(project, name, specOf({ overlap: 'CANCEL_RUNNING' }));
    const first = await engine.schedules.trigger(project, name);
    const second = await engine.schedules.trigger(project, name);
    expect(second).toMatchObject({ state: 'STARTED' });
    expect(await engine.runs.get(project, first.runId!)).toMatchObject({
      state: 'CANCELLED',
      cancelReason: `the next run of schedule ${name}`,
    });
    expect((await openRuns()).map(({ runId }) => runId)).toEqual([second.runId]);
  });
});

describe('a backfill', () => {
  const HOUR = 3_600_000;
  const untilMs = Math.floor(Date.now() / HOUR) * HOUR;
  const range = { fromMs: untilMs - 4 * HOUR, untilMs, parallel: 2 };

  test('runs each time of its range once, so many at a time, oldest first', async () => {
    await engine.schedules.apply(project, name, specOf({ cron: ['0 * * * *'] }), true);
    expect(await engine.schedules.backfill(project, name, range)).toBe(4);
    const started = async () =>
      (await past()).filter(({ state }) => state === 'STARTED').map(({ atMs }) => (untilMs - atMs) / HOUR);
    await expect.poll(started).toEqual([3, 4]);
    for (const { runId } of await openRuns()) await end(runId);
    await expect.poll(started).toEqual([1, 2, 3, 4]);
    expect(await openRuns()).toHaveLength(2);
    expect((await past()).every(({ origin }) => origin === 'BACKFILL')).toBe(true);
    expect(await engine.schedules.backfill(project, name, range)).toBe(0);
  });

  test('named by a request id happens once, and again is answered with the same', async () => {
    await engine.schedules.apply(project, name, specOf({ cron: ['0 * * * *'] }));
    const named = { ...range, parallel: 4, requestId: 'last-night' };
    expect(await engine.schedules.backfill(project, name, named)).toBe(4);
    expect(await engine.schedules.backfill(project, name, named)).toBe(4);
    const other = engine.schedules.backfill(project, name, { ...named, parallel: 3 });
    await expect(other).rejects.toMatchObject(refused('REQUEST_ID_REUSED'));
    await expect.poll(openRuns).toHaveLength(4);
  });

  test('takes up again what failed or was skipped, and makes one run of it', async () => {
    await engine.pipelines.apply(project, 'ci', definition);
    const run = { pipeline: { name: 'ci' }, params: {}, labels: {} };
    await engine.schedules.apply(project, name, specOf({ cron: ['0 * * * *'], run }), true);
    await engine.pipelines.delete(project, 'ci');
    const all = { ...range, parallel: 9 };
    expect(await engine.schedules.backfill(project, name, all)).toBe(4);
    await expect.poll(async () => (await past()).map(({ state }) => state)).toEqual(Array(4).fill('FAILED'));
    await engine.pipelines.apply(project, 'ci', definition);
    expect(await engine.schedules.backfill(project, name, all)).toBe(4);
    await expect.poll(async () => (await past()).map(({ state }) => state)).toEqual(Array(4).fill('STARTED'));
    expect(await openRuns()).toHaveLength(4);
  });

  test('of too much is refused and says how far it could go', async () => {
    await engine.schedules.apply(project, name, specOf({ cron: every.minute }), true);
    const days = { fromMs: untilMs - 48 * HOUR, untilMs, parallel: 1 };
    const reach = new Date(days.fromMs + 1_000 * 60_000).toISOString();
    await expect(engine.schedules.backfill(project, name, days)).rejects.toMatchObject({
      refusal: {
        refused: 'INVALID_FIELD',
        violations: [{ field: 'end_time', description: expect.stringContaining(reach) }],
      },
    });
    expect(await past()).toEqual([]);
    const most = { ...days, untilMs: days.fromMs + 900 * 60_000 };
    expect(await engine.schedules.backfill(project, name, most)).toBe(900);
    const more = { ...days, fromMs: most.untilMs, untilMs: most.untilMs + 300 * 60_000 };
    await expect(engine.schedules.backfill(project, name, more)).rejects.toMatchObject({
      refusal: { refused: 'LIMIT_REACHED', metadata: { limit: 'queued_occurrences', max: '1000' } },
    });
  });

  test('leaves out what is still to come', async () => {
    await engine.schedules.apply(project, name, specOf({ cron: ['0 * * * *'] }), true);
    const ahead = { ...range, untilMs: untilMs + 100 * HOUR };
    const queued = await engine.schedules.backfill(project, name, ahead);
    expect([5, 6]).toContain(queued);
    expect((await past()).every(({ atMs }) => atMs <= Date.now())).toBe(true);
  });
});

describe('what nobody took in time', () => {
  const MINUTE = 60_000;

  /** Comes every minute, half a minute away from now: so nothing is missed by a hair. */
  const minutely = (): string[] => [`${(Math.floor(Date.now() / 1_000) + 30) % 60} * * * * *`];

  /** What came by time and was missed, newest first. */
  async function late(nowMs: number): Promise<readonly string[]> {
    const occurrences = (await past()).filter(({ origin, atMs }) => origin === 'TIME' && atMs < nowMs - MINUTE);
    return occurrences.map(({ state, skip }) => skip ?? state);
  }

  test.each([
    ['SKIP', 0],
    ['RUN_ONCE', 1],
    ['RUN_ALL', 5],
  ] as const)('%s runs %i of it', async (missed, due) => {
    const spec = specOf({ cron: minutely(), missed, overlap: 'ALLOW', maxCatchUp: 5 });
    await engine.schedules.apply(project, name, spec);
    const { atMs: nowMs } = await engine.schedules.trigger(project, name);
    await sleep(10 * MINUTE);
    const kept = [...Array<string>(due).fill('STARTED'), ...Array<string>(9 - due).fill('MISSED')];
    await expect.poll(() => late(nowMs)).toEqual(kept);
    await expect.poll(openRuns).toHaveLength(due + 2);
  });

  test.each([
    [false, 0],
    [true, 4],
  ])('during a pause was missed: %s', async (pausedIsMissed, due) => {
    await engine.schedules.apply(project, name, specOf({ cron: minutely(), overlap: 'ALLOW', pausedIsMissed }));
    const { paused, nextMs } = await engine.schedules.pause(project, name, 'frozen');
    expect({ paused, nextMs }).toMatchObject({ paused: { reason: 'frozen' }, nextMs: undefined });
    const again = await engine.schedules.pause(project, name, 'still');
    expect(again.paused).toEqual({ reason: 'still', sinceMs: paused!.sinceMs });
    await sleep(5 * MINUTE);
    const { atMs: nowMs } = await engine.schedules.trigger(project, name);
    expect(await late(nowMs)).toEqual([]);
    expect(await engine.schedules.resume(project, name)).not.toHaveProperty('paused');
    expect(await engine.schedules.resume(project, name)).not.toHaveProperty('paused');
    await engine.schedules.trigger(project, name);
    await vi.waitFor(async () => expect(await late(nowMs)).toHaveLength(due));
    expect((await late(nowMs)).filter((state) => state === 'STARTED')).toHaveLength(Math.min(due, 1));
  });
});

test('a schedule that is deleted is gone with its occurrences, and its runs stay', async () => {
  await engine.schedules.apply(project, name, specOf({ cron: every.minute }));
  const { runId } = await engine.schedules.trigger(project, name, 'now');
  await engine.schedules.delete(project, name);
  await expect(engine.schedules.get(project, name)).rejects.toMatchObject(refused('SCHEDULE_NOT_FOUND'));
  for (const table of ['schedules', 'occurrences', 'schedule_requests']) {
    expect((await fixture.pools.pool.query(`select from ${table}`)).rowCount, table).toBe(0);
  }
  expect(await engine.runs.get(project, runId!)).toMatchObject({ state: 'PENDING' });
  // A new one under the old name has nothing of it.
  await engine.schedules.apply(project, name, specOf());
  expect(await past()).toEqual([]);
  expect((await engine.schedules.trigger(project, name, 'now')).runId).not.toBe(runId);
});

test('a schedule that cannot be decided on keeps no other one from its time', async () => {
  await engine.schedules.apply(project, 'broken', specOf({ cron: every.second }));
  await fixture.pools.pool.query(
    `update schedules set spec = '{"cron": ["no"], "timeZone": "UTC"}', due_ms = 0 where name = 'broken'`,
  );
  await engine.schedules.apply(project, name, specOf({ cron: every.second }));
  await expect.poll(past).not.toEqual([]);
});

test('the request id of an occurrence that does not know its run yet is kept, however old', async () => {
  await engine.schedules.apply(project, name, specOf(), undefined);
  const { runId } = await engine.schedules.trigger(project, name, undefined);
  // As if the replica had died between the run and its record, a long time ago.
  await fixture.pools.pool.query(`update occurrences set state = 'STARTING', run_id = null`);
  const forget = () => withConnection(fixture.pools.pool, (tx) => forgetRequestIds(tx, Date.now() + 1_000, 10));
  expect(await forget()).toBe(0);
  await sleep(0);
  await vi.waitFor(async () => expect(await past()).toMatchObject([{ state: 'STARTED', runId }]), 15_000);
  expect(await openRuns()).toHaveLength(1);
  expect(await forget()).toBe(1);
});
