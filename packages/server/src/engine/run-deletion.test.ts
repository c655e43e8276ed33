import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { RunId } from '../core/ids.ts';
import { RefusedError } from '../core/refusal.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { forgetDeletedRuns, sweepDeletedRuns } from '../store/deleted-runs.ts';
import { withConnection, withTransaction } from '../store/pool.ts';
import { createTestDatabase, type TestDatabase } from '../store/testing/database.ts';
import type { RunChanges, RunFilter } from './engine.ts';
import { createFeedWatch } from './feed-watch.ts';
import { createJobQueries } from './job-queries.ts';
import { createRunDeletion, type RunDeletion } from './run-deletion.ts';
import { createRunQueries } from './run-queries.ts';
import { createRunWatch } from './run-watch.ts';
import { createWakeUps } from './wake-ups.ts';
import { logFrame, type LogFixture, openLogFixture } from './testing/log-fixture.ts';

let database: TestDatabase;
let logs: LogFixture;
let deletion: RunDeletion;
let deleted: RunId[];
let stop: AbortController;
let count = 0;
let project: string;
const one = definitionOf(jobNamed('build'));

beforeAll(async () => {
  database = await createTestDatabase();
  logs = await openLogFixture(database);
  const { pool, wakeUps } = logs.ledger;
  deletion = createRunDeletion({
    pool,
    onDeleted(runIds) {
      deleted.push(...runIds);
      for (const runId of runIds) wakeUps.ring(`run:${runId}`);
      wakeUps.ring('feed');
    },
  });
});
afterAll(async () => {
  await logs[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await sweep();
  deleted = [];
  stop = new AbortController();
  project = `project-${count++}`;
});
afterEach(() => stop.abort(new Error('the test is over')));

async function refusalOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(
    () => undefined,
    (error: unknown) => (error instanceof RefusedError ? error.refusal.refused : String(error)),
  );
}

const pass = () => withTransaction(logs.ledger.pool, (tx) => sweepDeletedRuns(tx, 1_000, 5_000));

async function sweep(): Promise<void> {
  for (let rows = 1; rows > 0; ) ({ rows } = await pass());
}

/** A run that was cancelled at once. */
async function finished(run: Parameters<LogFixture['ledger']['create']>[1] = {}): Promise<RunId> {
  const runId = await logs.ledger.create(one, { project, ...run });
  await logs.ledger.submit(runId, { type: 'CancelRun', reason: '', force: false });
  return runId;
}

test('a run that goes on is not deleted', async () => {
  const runId = await logs.ledger.create(one, { project });
  const refused = deletion.delete(project, runId);
  await expect(refused).rejects.toThrow(`run ${runId} is PENDING: wait for its end, or cancel it first`);
  expect(await refusalOf(refused)).toBe('NOT_FINISHED');
  expect(await createRunQueries(logs.ledger).get(project, runId)).toMatchObject({ runId });
  expect(deleted).toEqual([]);
});

test('a deleted run is in no answer any more, before anything of it is swept and after', async () => {
  const key = await logs.start(await logs.create());
  await logs.write(logFrame(key, 0, 'secret'));
  await logs.finish(key, Buffer.from('secret'));
  const runId = key.runId;
  const { pool, plans } = logs.ledger;
  const [runs, jobs] = [createRunQueries(logs.ledger), createJobQueries({ pool, plans })];
  await deletion.delete('default', runId);
  expect(deleted).toEqual([runId]);
  for (const when of ['before', 'after']) {
    const watched = createRunWatch(logs.ledger).watch('default', runId, 0, stop.signal)[Symbol.asyncIterator]();
    const tailed = logs.reader.tailLog('default', key, 1, 0, stop.signal)[Symbol.asyncIterator]();
    const page = { size: 10 };
    expect(
      await Promise.all(
        [
          runs.get('default', runId),
          jobs.list('default', runId, [], [], page),
          jobs.get('default', key),
          jobs.listAttempts('default', key, page),
          logs.reader.readLog('default', key, 1, 0, 10),
          watched.next(),
          tailed.next(),
          deletion.delete('default', runId),
        ].map(refusalOf),
      ),
      when,
    ).toEqual([
      'RUN_NOT_FOUND',
      'RUN_NOT_FOUND',
      'JOB_NOT_FOUND',
      'JOB_NOT_FOUND',
      'RUN_NOT_FOUND',
      'RUN_NOT_FOUND',
      'RUN_NOT_FOUND',
      'RUN_NOT_FOUND',
    ]);
    const { items } = await runs.list('default', { states: [], labels: {} }, page);
    expect(items.map((run) => run.runId)).not.toContain(runId);
    const cancel = await logs.ledger.submit(runId, { type: 'CancelRun', reason: '', force: false });
    expect(cancel).toMatchObject({ type: 'Refused', refusal: { refused: 'RUN_NOT_FOUND' } });
    await sweep();
  }
  const { rows } = await pool.query<{ left: number }>(
    `select (select count(*) from events where run_id = $1) + (select count(*) from jobs where run_id = $1)
       + (select count(*) from attempts where run_id = $1) as left`,
    [runId],
  );
  expect(rows).toEqual([{ left: 0 }]);
});

test('a run of another project is not there to delete', async () => {
  const runId = await finished();
  expect(await refusalOf(deletion.delete(`${project}-other`, runId))).toBe('RUN_NOT_FOUND');
  expect(await createRunQueries(logs.ledger).get(project, runId)).toMatchObject({ runId });
});

test('of many who delete a run at once one does, and the others learn that it is gone', async () => {
  const runId = await finished();
  const outcomes = await Promise.all(Array.from({ length: 6 }, () => refusalOf(deletion.delete(project, runId))));
  expect(outcomes.filter((outcome) => outcome === undefined)).toHaveLength(1);
  expect(new Set(outcomes)).toEqual(new Set([undefined, 'RUN_NOT_FOUND']));
});

test('whoever reads its ledger or log while it goes is told, and never reads past a gap', async () => {
  const key = await logs.start(await logs.create());
  const { runId } = key;
  const watched = createRunWatch(logs.ledger).watch('default', runId, 0, stop.signal)[Symbol.asyncIterator]();
  expect(await watched.next()).toMatchObject({ value: [] });
  expect((await watched.next()).value).toHaveLength(3);
  const tailed = logs.reader.tailLog('default', key, 1, 0, stop.signal)[Symbol.asyncIterator]();
  await tailed.next();
  await logs.finish(key, Buffer.alloc(0));
  await deletion.delete('default', runId);
  // As a pass that got only so far leaves it.
  await logs.ledger.pool.query('delete from events where run_id = $1 and seq = 4', [runId]);
  expect(await refusalOf(watched.next())).toBe('RUN_NOT_FOUND');
  await sweep();
  expect(await refusalOf(tailed.next())).toBe('JOB_NOT_FOUND');
});

function watch(filter: Partial<RunFilter> = {}, cursor?: string, wakeUps = logs.ledger.wakeUps) {
  const feed = createFeedWatch({ pool: logs.ledger.pool, wakeUps });
  const messages = feed.watchAll(project, { states: [], labels: {}, ...filter }, cursor, stop.signal);
  return messages[Symbol.asyncIterator]();
}

async function nextChanges(messages: AsyncIterator<RunChanges>): Promise<RunChanges> {
  for (;;) {
    const { value } = (await messages.next()) as { value: RunChanges };
    if (value.changes.length > 0) return value;
  }
}

test('a dashboard sees a deleted run leave as it last was, live and when it comes back', async () => {
  const runId = await finished({ pipeline: 'ci', labels: { repo: 'a' } });
  const foreign = await finished({ pipeline: 'cd', labels: { repo: 'a' } });
  const filter = { pipeline: 'ci', labels: { repo: 'a' } };
  const live = watch(filter);
  const { changes, cursor } = await nextChanges(live);
  expect(changes).toMatchObject([{ run: { runId }, left: false }]);
  await deletion.delete(project, foreign);
  await deletion.delete(project, runId);
  const gone = [{ run: { runId, project, state: 'CANCELLED', pipeline: 'ci', labels: { repo: 'a' } }, left: true }];
  expect((await nextChanges(live)).changes).toMatchObject(gone);
  // Elsewhere, where nobody heard of it, also once it is swept.
  await sweep();
  const resumed = await nextChanges(watch(filter, cursor, createWakeUps()));
  expect(resumed.changes).toMatchObject(gone);
  expect(resumed.changes[0]?.run.params).toBeUndefined();
  const snapshot = (await watch(filter).next()) as { value: RunChanges };
  expect(snapshot.value).toMatchObject({ changes: [], snapshotComplete: true });
});

test('more deletions than fit into a message come in several, each once', async () => {
  const runIds = await Promise.all(Array.from({ length: 1_200 }, () => finished()));
  const { value } = (await watch().next()) as { value: RunChanges };
  const messages = watch();
  let cursor: string | undefined;
  const seen = new Set<RunId>();
  while (seen.size < 1_200) {
    const message = await nextChanges(messages);
    cursor = message.cursor ?? cursor;
    for (const { run } of message.changes) seen.add(run.runId);
  }
  expect(value.snapshotComplete).toBe(false);
  for (let at = 0; at < runIds.length; at += 400) await deletion.deleteFinished(runIds.slice(at, at + 400));
  const resumed = watch({}, cursor);
  const left: RunId[] = [];
  while (left.length < 1_200) {
    for (const change of (await nextChanges(resumed)).changes) if (change.left) left.push(change.run.runId);
  }
  expect(left.toSorted()).toEqual(runIds.toSorted());
});

test('a cursor from before deletions that are forgotten is refused, a later one is not', async () => {
  const { value: before } = (await watch().next()) as { value: RunChanges };
  await deletion.delete(project, await finished());
  await sweep();
  await logs.ledger.pool.query('select pg_current_xact_id()');
  const { value: after } = (await watch().next()) as { value: RunChanges };
  const { pool } = logs.ledger;
  expect(await withConnection(pool, (tx) => forgetDeletedRuns(tx, Date.now() + 60_000, 10_000))).toBeGreaterThan(0);
  expect(await refusalOf(watch({}, before.cursor).next())).toBe('INVALID_CURSOR');
  await expect(watch({}, before.cursor).next()).rejects.toThrow('watch again without one');
  expect(await watch({}, after.cursor).next()).toMatchObject({ value: { changes: [] } });
});

test('a run of ten thousand jobs is deleted by a transaction that touches its row alone', async () => {
  const jobs = Array.from({ length: 10_000 }, (_, i) => jobNamed(`job-${i}`));
  const runId = await logs.ledger.create(definitionOf(...jobs), { project });
  await logs.ledger.submit(runId, { type: 'CancelRun', reason: '', force: false });
  const { pool } = logs.ledger;
  const rowsOf = async () => (await pool.query(`select from jobs where run_id = $1`, [runId])).rowCount;
  await deletion.delete(project, runId);
  expect(await rowsOf()).toBe(10_000);
  expect(await pass()).toMatchObject({ settled: 0 });
  expect(await rowsOf()).toBe(5_000);
  await sweep();
  expect(await rowsOf()).toBe(0);
});
