// The checker of ledgers finds what a defect, or a hand, could do to the rows.
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EVENT_VERSION } from '../src/core/event-versions.ts';
import type { RunId } from '../src/core/ids.ts';
import { definitionOf, jobNamed } from '../src/core/testing/definitions.ts';
import { type LedgerFixture, openLedgerFixture } from '../src/engine/testing/ledger-fixture.ts';
import { connectionOptions } from '../src/store/connection-options.ts';
import { ensureLogPartitions } from '../src/store/log-partitions.ts';
import { checkLedger } from '../src/store/testing/check-ledger.ts';
import { createTestDatabase, type TestDatabase } from '../src/store/testing/database.ts';

let database: TestDatabase;
let ledger: LedgerFixture;
let client: Client;
let runId: RunId;

/** The CRC32C of `abc`. */
const crc = 0x364b3fb7;

beforeAll(async () => {
  database = await createTestDatabase();
  ledger = await openLedgerFixture(database);
  client = new Client(connectionOptions(database.config, 'test'));
  await client.connect();
  await ensureLogPartitions(client);
  // A run with a job that is done, one that runs, was heard of and has written three bytes, one that waits, one that is queued and one
  // that is held.
  const limits = { ...jobNamed('limits').timeouts, runMs: 60_000, silenceMs: 1 };
  runId = await ledger.create(
    definitionOf(
      jobNamed('done'),
      jobNamed('running', { timeouts: limits }),
      jobNamed('blocked', { needs: ['running'] }),
      jobNamed('queued'),
      jobNamed('held'),
    ),
  );
  const instance = await ledger.connect('shell', 'i-1');
  expect(instance).toBe(1);
  await ledger.succeed(runId, 0);
  await ledger.submit(runId, { type: 'Offer', job: 1, instance, instanceId: 'i-1' });
  await ledger.submit(runId, { type: 'Accept', job: 1, attempt: 1, instance });
  const annotation = { level: 'INFO', text: 'noted', link: '' } as const;
  await ledger.submit(runId, {
    type: 'Annotate',
    job: 1,
    attempt: 1,
    instance,
    number: 1,
    annotation,
    content: undefined,
  });
  const asker = { reason: 'not now', actor: 'ada' };
  await ledger.submit(runId, { type: 'HoldJob', job: 4, ...asker });
  await ledger.submit(runId, { type: 'PauseRun', ...asker });
  await ledger.submit(runId, { type: 'ResumeRun', ...asker });
  await hear();
  await client.query(`update attempts set log_size = 3, log_crc32c = ${crc} where job = 1`);
  await client.query(
    `insert into log_chunks select (now() at time zone 'UTC')::date, run_id, 1, 1, at, data, '[]' from runs,
       (values (0, 'ab'::bytea), (2, 'c'::bytea)) chunks (at, data)`,
  );
});
afterAll(async () => {
  await client.end();
  await ledger[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

/** Has the attempt that runs be heard of, and its silence timeout moved for that. */
async function hear(): Promise<void> {
  const future = { eventVersion: EVENT_VERSION, random: 0, content: undefined };
  await client.query('update attempts set heard_ms = heard_ms + 3600000 where job = 1');
  await ledger.submit(runId, { type: 'Timer', job: 1, ...future });
  const { rows } = await client.query('select heard_ms from jobs where job = 1');
  expect(rows[0]?.heard_ms).toBeGreaterThan(0);
}

test('a ledger that is as it should be passes', async () => {
  expect(await checkLedger(client)).toBe(1);
});

describe('it finds', () => {
  test.each<[string, string, RegExp]>([
    ['an event that is gone', 'delete from events where seq = 2', /event 2 has seq 3/],
    ['the last event gone', 'delete from events where seq = (select max(seq) from events)', /its row is/],
    [
      'an event that comes twice',
      `insert into events select run_id, seq + 100, project, time_ms, version, type, run_state, job, job_state, data
       from events where type = 'AttemptStarted'`,
      /cannot follow/,
    ],
    ['an event that is older than the one before it', 'update events set time_ms = 1 where seq = 3', /older than/],
    ['an event that tells another state', `update events set job_state = 'QUEUED' where seq = 3`, /tells other states/],
    ['a run that counts wrong', 'update runs set seq = seq + 1', /its row is/],
    ['a run in another state', `update runs set state = 'CANCELLING'`, /its row is/],
    [
      'a job in another state',
      `update jobs set state = 'QUEUED', instance_no = null, due_ms = null where job = 1`,
      /job 1 is/,
    ],
    ['a job that counts its needs wrong', 'update jobs set unmet = 2 where job = 2', /job 2 is/],
    ['an alarm at another time', 'update jobs set due_ms = due_ms + 1', /the alarm of job 1/],
    ['an alarm that nobody set', 'update jobs set due_ms = 1 where job = 2', /the alarm of job 2/],
    ['a job that is gone', 'delete from jobs where job = 2', /the numbers of its jobs/],
    ['a queued job that is not in the queue', 'delete from queue where job = 3', /the queue of job 3/],
    ['a queued job in another queue', `update queue set driver = 'other' where job = 3`, /the queue of job 3/],
    ['an attempt that is gone', 'delete from attempts where job = 0', /its attempts/],
    [
      'an attempt that no event made',
      `insert into attempts (run_id, job, attempt, project, instance_no, state, offered_ms)
       select run_id, 3, 1, project, 1, 'OFFERED', 1 from runs`,
      /its attempts/,
    ],
    ['an attempt of another instance', 'update attempts set instance_no = 2 where job = 1', /attempt 1.1 is/],
    ['an attempt with another outcome', `update attempts set state = 'FAILED' where job = 0`, /attempt 0.1 is/],
    ['outputs that changed after the end', `update attempts set outputs = '{"a":1}' where job = 0`, /attempt 0.1 is/],
    ['an annotation that is gone', 'update attempts set annotations = null', /attempt 1.1 is/],
    ['a log with a gap', 'delete from log_chunks where start_offset = 0', /goes on at 2 behind 0/],
    ['a log with an overlap', `update log_chunks set data = 'abc' where start_offset = 0`, /goes on at 2 behind 3/],
    ['a log that is shorter than it says', 'delete from log_chunks where start_offset = 2', /the size of the log/],
    ['a log with another byte', `update log_chunks set data = 'x' where start_offset = 2`, /the CRC of the log/],
    ['log bytes of no attempt', 'update log_chunks set attempt = 9', /log bytes without an attempt/],
    ['a row of another project', `update attempts set project = 'other' where job = 0`, /of another project/],
    ['a pause that nobody asked for', `update runs set pause = '{"reason":"","actor":"","sinceMs":1}'`, /its row is/],
    ['a hold that is gone', 'update jobs set hold = null where job = 4', /job 4 is/],
    ['a wait for something else', `update jobs set wait = '{"reason":"PAUSED"}' where job = 4`, /job 4 is/],
    [
      'an attempt that was heard of at another time',
      'update jobs set heard_ms = heard_ms + 1 where job = 1',
      /job 1 is/,
    ],
    ['an attempt that was never heard of', 'update attempts set heard_ms = null', /heard of later than it was/],
    [
      'an event of a version that older builds are spared',
      `update events set version = 2 where type = 'AttemptStarted'`,
      /has version 2, not 1/,
    ],
    ['a lease that was not taken with its instance', 'update leases set epoch = epoch + 1', /another epoch/],
  ])('%s', async (_, fault, problem) => {
    await client.query('begin');
    try {
      expect((await client.query(fault)).rowCount).toBeGreaterThan(0);
      await expect(checkLedger(client)).rejects.toThrow(problem);
    } finally {
      await client.query('rollback');
    }
  });
});
