// The checker of ledgers finds what a defect, or a hand, could do to the rows.
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EVENT_VERSION } from '../src/core/event-versions.ts';
import { makeRunId, type RunId } from '../src/core/ids.ts';
import { definitionOf, jobNamed } from '../src/core/testing/definitions.ts';
import { type LedgerFixture, openLedgerFixture } from '../src/engine/testing/ledger-fixture.ts';
import { connectionOptions } from '../src/store/connection-options.ts';
import { ensureLogPartitions } from '../src/store/log-partitions.ts';
import { checkLedger } from '../src/store/testing/check-ledger.ts';
import { createTestDatabase, type TestDatabase } from '../src/store/testing/database.ts';
import { verifyRun } from '../src/store/verify-run.ts';

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
  const artifact = { name: 'app', digest: 'crc32c:00000000', sizeBytes: 1, uri: '', mediaType: '' };
  for (const number of [1, 2]) {
    const ref = { job: 1, attempt: 1, instance };
    await ledger.submit(runId, { type: 'Declare', ...ref, number, artifact, content: undefined });
  }
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

test('what was compared is counted', async () => {
  const { rows } = await client.query<{ count: number }>('select count(*)::int as count from events');
  expect(await verifyRun(client, runId, { skipLogs: false })).toEqual({
    verified: { events: rows[0]!.count, jobs: 5, attempts: 2, logs: 1, logBytes: 3, expiredLogs: 0 },
    discrepancyCount: 0,
    discrepancies: [],
  });
  expect(await verifyRun(client, runId, { skipLogs: true })).toMatchObject({ verified: { logs: 0, logBytes: 0 } });
});

test.each([
  ['a definition that is gone', 'delete from definitions', 'definition', 'no row'],
  [
    'a definition that was changed',
    `update definitions set body = '{"jobs":[]}'`,
    'definition.digest',
    /^[0-9a-f]{64}$/,
  ],
])('%s is told, and what depends on it is not compared', async (_, fault, where, found) => {
  await client.query('begin');
  try {
    await client.query(fault);
    expect(await verifyRun(client, runId, { skipLogs: false })).toMatchObject({
      verified: { events: 0, attempts: 2, logs: 1 },
      discrepancies: [
        { kind: 'DEFINITION', where, found: typeof found === 'string' ? found : expect.stringMatching(found) },
      ],
    });
  } finally {
    await client.query('rollback');
  }
});

test('of many discrepancies all are counted and the first are told', async () => {
  await client.query('begin');
  try {
    await client.query(`update events set project = 'other'`);
    await client.query(
      `insert into attempts (run_id, job, attempt, project, instance_no, state, offered_ms)
       select run_id, 3, n, project, 1, 'OFFERED', 1 from runs, generate_series(1, 450) n`,
    );
    const verification = await verifyRun(client, runId, { skipLogs: false });
    expect(verification?.discrepancyCount).toBeGreaterThan(450);
    expect(verification?.discrepancies).toHaveLength(100);
    expect(verification?.verified.attempts).toBe(452);
  } finally {
    await client.query('rollback');
  }
});

test('of a run that is not there nothing is said', async () => {
  expect(await verifyRun(client, makeRunId(1, new Uint8Array(10)), { skipLogs: false })).toBeUndefined();
});

describe('it finds', () => {
  test.each<[string, string, RegExp]>([
    ['an event that is gone', 'delete from events where seq = 2', /events\[3\]\.seq is 3, and should be 2/],
    ['the last event gone', 'delete from events where seq = (select max(seq) from events)', /run\.seq is/],
    [
      'an event that comes twice',
      `insert into events select run_id, seq + 100, project, time_ms, version, type, run_state, job, job_state, data
       from events where type = 'AttemptStarted'`,
      /events\[\d+\] is AttemptStarted: .*, and should be an event that can follow/,
    ],
    [
      'an event that is older than the one before it',
      'update events set time_ms = 1 where seq = 3',
      /events\[3\]\.time_ms is 1, and should be \d+ or later/,
    ],
    [
      'an event that tells another state',
      `update events set job_state = 'QUEUED' where seq = 3`,
      /events\[3\]\.job_state is "QUEUED"/,
    ],
    ['a run that counts wrong', 'update runs set seq = seq + 1', /run\.seq is/],
    ['a run in another state', `update runs set state = 'CANCELLING'`, /run\.state is "CANCELLING"/],
    [
      'a job in another state',
      `update jobs set state = 'QUEUED', instance_no = null, due_ms = null where job = 1`,
      /jobs\[1\]\.state is "QUEUED", and should be "RUNNING"/,
    ],
    [
      'a job that counts its needs wrong',
      'update jobs set unmet = 2 where job = 2',
      /jobs\[2\]\.unmet is 2, and should be 1/,
    ],
    ['an alarm at another time', 'update jobs set due_ms = due_ms + 1', /jobs\[1\]\.due_ms is/],
    [
      'an alarm that nobody set',
      'update jobs set due_ms = 1 where job = 2',
      /jobs\[2\]\.due_ms is 1, and should be nothing/,
    ],
    ['a job that is gone', 'delete from jobs where job = 2', /jobs\[2\] is no row/],
    ['a queued job that is not in the queue', 'delete from queue where job = 3', /queue\[3\]\.driver is nothing/],
    [
      'a queued job in another queue',
      `update queue set driver = 'other' where job = 3`,
      /queue\[3\]\.driver is "other"/,
    ],
    ['an attempt that is gone', 'delete from attempts where job = 0', /attempts\[0\.1\] is no row/],
    [
      'an attempt that no event made',
      `insert into attempts (run_id, job, attempt, project, instance_no, state, offered_ms)
       select run_id, 3, 1, project, 1, 'OFFERED', 1 from runs`,
      /attempts\[3\.1\] is "OFFERED", and should be no such attempt/,
    ],
    [
      'an attempt of another instance',
      'update attempts set instance_no = 2 where job = 1',
      /attempts\[1\.1\]\.instance_no is 2/,
    ],
    [
      'an attempt with another outcome',
      `update attempts set state = 'FAILED' where job = 0`,
      /attempts\[0\.1\]\.state is "FAILED"/,
    ],
    [
      'outputs that changed after the end',
      `update attempts set outputs = '{"a":1}' where job = 0`,
      /attempts\[0\.1\]\.outputs is {"a":1}/,
    ],
    ['an annotation that is gone', 'update attempts set annotations = null', /attempts\[1\.1\]\.annotations is 0,/],
    [
      'an artifact that is gone',
      'delete from artifacts where number = 2',
      /attempts\[1\.1\]\.artifacts is 1, .* and should be 2, /,
    ],
    [
      'an artifact that is another',
      `update artifacts set artifact = '{"name":"forged"}' where number = 1`,
      /attempts\[1\.1\]\.artifacts is 2, /,
    ],
    [
      'artifacts that are counted wrong',
      'update attempts set artifacts = 3 where job = 1',
      /attempts\[1\.1\]\.artifact_count is 3, and should be 2/,
    ],
    [
      'an artifact that no event made',
      `insert into artifacts select run_id, 0, 1, 1, project, artifact, added_ms from artifacts where number = 1`,
      /attempts\[0\.1\]\.artifacts is 1, .* and should be 0/,
    ],
    [
      'a log with a gap',
      'delete from log_chunks where start_offset = 0',
      /logs\[1\.1\]\.chunks\[2\]\.start_offset is 2, and should be 0/,
    ],
    [
      'a log with an overlap',
      `update log_chunks set data = 'abc' where start_offset = 0`,
      /logs\[1\.1\]\.chunks\[2\]\.start_offset is 2, and should be 3/,
    ],
    [
      'a log that is shorter than it says',
      'delete from log_chunks where start_offset = 2',
      /logs\[1\.1\]\.size is 2, and should be 3/,
    ],
    ['a log with another byte', `update log_chunks set data = 'x' where start_offset = 2`, /logs\[1\.1\]\.crc32c is/],
    [
      'log bytes of no attempt',
      'update log_chunks set attempt = 9',
      /logs\[1\.9\] is 2 bytes at 0, and should be no such attempt/,
    ],
    [
      'a row of another project',
      `update attempts set project = 'other' where job = 0`,
      /attempts\[0\.1\]\.project is other/,
    ],
    ['a job of another project', `update jobs set project = 'other' where job = 2`, /jobs\[2\]\.project is other/],
    [
      'an event of another project',
      `update events set project = 'other' where seq = 2`,
      /events\[2\]\.project is other/,
    ],
    [
      'outputs that are too long to show',
      `update attempts set outputs = json_build_object('a', repeat('x', 999)) where job = 0`,
      /outputs is {"a":"x+… of 1007, sha256 [0-9a-f]{16}, and should be null/,
    ],
    ['rows of a run that is gone', 'delete from runs', /events without a run/],
    [
      'a pause that nobody asked for',
      `update runs set pause = '{"reason":"","actor":"","sinceMs":1}'`,
      /run\.pause is/,
    ],
    ['a hold that is gone', 'update jobs set hold = null where job = 4', /jobs\[4\]\.hold is/],
    ['a wait for something else', `update jobs set wait = '{"reason":"PAUSED"}' where job = 4`, /jobs\[4\]\.wait is/],
    [
      'an attempt that was heard of at another time',
      'update jobs set heard_ms = heard_ms + 1 where job = 1',
      /jobs\[1\]/,
    ],
    ['an attempt that was never heard of', 'update attempts set heard_ms = null', /heard of later than it was/],
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
