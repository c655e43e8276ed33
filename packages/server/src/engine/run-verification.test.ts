import { afterAll, beforeAll, expect, test } from 'vitest';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { createTestDatabase, type TestDatabase } from '../store/testing/database.ts';
import { createRunVerification } from './run-verification.ts';
import { logFrame, type LogFixture, openLogFixture } from './testing/log-fixture.ts';

let database: TestDatabase;
let logs: LogFixture;
const { signal } = new AbortController();

beforeAll(async () => {
  database = await createTestDatabase();
  logs = await openLogFixture(database);
});
afterAll(async () => {
  await logs[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const right = { discrepancyCount: 0, discrepancies: [] };

test('a run that goes on is compared as of one moment, however it changes meanwhile', async () => {
  const { verify } = createRunVerification(logs.pools.pool);
  const key = await logs.start(await logs.create());
  let size = 0;
  let goesOn = true;
  const writing = (async () => {
    while (goesOn) {
      await logs.write(logFrame(key, size, 'some bytes\n'));
      size += 11;
    }
  })();
  const seen: number[] = [];
  for (let i = 0; i < 20; i++) {
    const verification = await verify('default', key.runId, false, signal);
    expect(verification).toMatchObject(right);
    seen.push(verification.verified.logBytes);
  }
  goesOn = false;
  await writing;
  expect(new Set(seen).size).toBeGreaterThan(1);
  await logs.finish(key, Buffer.from('some bytes\n'.repeat(size / 11)));
  expect(await verify('default', key.runId, false, signal)).toMatchObject({
    ...right,
    verified: { attempts: 1, logs: 1, logBytes: size },
  });
});

test('a run that is not there, or of another project, is not found', async () => {
  const { verify } = createRunVerification(logs.pools.pool);
  const { runId } = await logs.create();
  await expect(verify('other', runId, false, signal)).rejects.toMatchObject({ refusal: { refused: 'RUN_NOT_FOUND' } });
});

test('two are compared at a time; a third one is refused, and one that is called off makes room', async () => {
  const { verify } = createRunVerification(logs.pools.pool);
  const { runId } = await logs.create();
  const [first, second, third] = await Promise.allSettled(
    Array.from({ length: 3 }, () => verify('default', runId, false, signal)),
  );
  expect([first, second]).toMatchObject([{ value: right }, { value: right }]);
  expect(third).toMatchObject({ reason: { refusal: { refused: 'LIMIT_REACHED', metadata: { max: '2' } } } });
  const gone = AbortSignal.abort(new Error('called off'));
  for (let i = 0; i < 3; i++) await expect(verify('default', runId, false, gone)).rejects.toThrow('called off');
});

test('a run of ten thousand jobs with a ledger of many pages is compared whole', async () => {
  const jobs = Array.from({ length: 10_000 }, (_, i) => jobNamed(`job-${i}`));
  const runId = await logs.ledger.create(definitionOf(...jobs));
  await logs.ledger.submit(runId, { type: 'CancelRun', reason: 'enough', force: false });
  const { verify } = createRunVerification(logs.pools.pool);
  // RunCreated, a conclusion for each job, and the cancel with its end.
  const verified = { events: 10_003, jobs: 10_000, attempts: 0 };
  expect(await verify('default', runId, false, signal)).toMatchObject({ ...right, verified });
  await logs.pools.pool.query('update jobs set finished_ms = 1 where run_id = $1 and job = 9999', [runId]);
  expect(await verify('default', runId, false, signal)).toMatchObject({
    discrepancyCount: 1,
    discrepancies: [{ kind: 'JOB', where: 'jobs[9999].finished_ms', found: '1' }],
  });
});
