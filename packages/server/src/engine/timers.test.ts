// Timers of many runs whose decisions do not come to an end.
import { pino } from 'pino';
import { expect, test } from 'vitest';
import type { RunId } from '../core/ids.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { createTestDatabase } from '../store/testing/database.ts';
import type { Ledger } from './ledger.ts';
import { openLedgerFixture } from './testing/ledger-fixture.ts';
import { createTimers } from './timers.ts';

const STUCK = 600;
const gate = { message: '', approvers: [], quorum: 1, timeoutMs: 1_000, onTimeout: 'SKIP' } as const;

test('timers of one project that take long keep no other project waiting', async () => {
  await using database = await createTestDatabase();
  await using fixture = await openLedgerFixture(database);
  const definition = definitionOf(jobNamed('ask', { driver: '', gate }));
  await Promise.all(Array.from({ length: STUCK }, () => fixture.create(definition, { project: 'stuck' })));
  const other = await fixture.create(definition, { project: 'other' });
  const fired: RunId[] = [];
  const ended = Promise.withResolvers<never>();
  const ledger: Pick<Ledger, 'submit'> = {
    submit(runId) {
      fired.push(runId);
      return ended.promise;
    },
  };
  const log = pino({ level: 'silent' });
  const timers = createTimers({ pool: fixture.pool, ledger, eventVersion: () => 1, log });
  const stopping = new AbortController();
  // What is due comes in the order in which it is.
  await expect
    .poll(async () => (await fixture.pool.query(ALL_DUE)).rows, { timeout: 5_000 })
    .toEqual([{ count: STUCK + 1 }]);
  const running = timers.run(stopping.signal);
  await expect.poll(() => fired.includes(other), { timeout: 5_000 }).toBe(true);
  expect(fired.length).toBeLessThan(STUCK);
  stopping.abort();
  ended.reject(new Error('the test is over'));
  await running;
});

const ALL_DUE =
  'select count(*)::int from jobs where due_ms < floor(extract(epoch from clock_timestamp()) * 1000)::bigint';
