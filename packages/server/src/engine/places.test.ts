// Claims of many runs whose decisions do not come to an end.
import { pino } from 'pino';
import { expect, test } from 'vitest';
import type { RunId } from '../core/ids.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { createTestDatabase } from '../store/testing/database.ts';
import type { Ledger } from './ledger.ts';
import { createPlaces } from './places.ts';
import { openLedgerFixture } from './testing/ledger-fixture.ts';

const STUCK = 1_000;
const AT_ONCE = 250;

test('claims of one project that take long keep no other project waiting, and none is forgotten', async () => {
  await using database = await createTestDatabase();
  await using fixture = await openLedgerFixture(database);
  const create = (project: string, key: string) =>
    fixture.create(definitionOf(jobNamed('deploy', { concurrency: { key, limit: 1, policy: 'QUEUE' } })), { project });
  const stuck = await Promise.all(Array.from({ length: STUCK }, (_, n) => create('a-stuck', `key-${n}`)));
  const other = await create('other', 'key');
  const asked = new Map<RunId, PromiseWithResolvers<never>>();
  const ledger: Pick<Ledger, 'submit'> = {
    submit(runId) {
      const ended = Promise.withResolvers<never>();
      asked.set(runId, ended);
      return ended.promise;
    },
  };
  const places = createPlaces({ pool: fixture.pool, ledger, log: pino({ level: 'silent' }) });
  const stopping = new AbortController();
  const running = places.run(stopping.signal);
  await expect.poll(() => asked.has(other), { timeout: 5_000 }).toBe(true);
  expect(asked.size).toBe(AT_ONCE + 1);
  const seen = new Set<RunId>();
  const letGo = (): void => {
    for (const [runId, { reject }] of asked) {
      seen.add(runId);
      asked.delete(runId);
      reject(new Error('later'));
    }
  };
  const beganMs = performance.now();
  await expect.poll(() => (letGo(), stuck.every((runId) => seen.has(runId))), { timeout: 20_000 }).toBe(true);
  // Sooner than three looks at everything.
  expect(performance.now() - beganMs).toBeLessThan(1_600);
  stopping.abort();
  await expect.poll(() => (letGo(), asked.size)).toBe(0);
  await running;
});
