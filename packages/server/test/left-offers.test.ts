// Offers that are left because the decisions before them take long: of plans that this replica has not compiled yet.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { definitionOf, jobNamed } from '../src/core/testing/definitions.ts';
import { connectObedient } from './obedient-driver.ts';
import { startTwoEngines, type TwoEngines } from './two-engines.ts';

const RUNS = 10;
const trigger = { kind: 'api', actor: '', reference: '' };

let both: TwoEngines;
beforeAll(async () => {
  both = await startTwoEngines();
});
afterAll(() => both[Symbol.asyncDispose]());

test('what was left is offered at once, without waiting for the next poll', async () => {
  const [one, other] = both.engines;
  const conditionOf = (n: number, m: number): string =>
    Array.from({ length: 40 }, (_, i) => `params.x + ${n} < ${100 * m + i}`).join(' || ');
  const beganMs = performance.now();
  for (let n = 0; n < RUNS; n++) {
    const later = Array.from({ length: 30 }, (_, m) =>
      jobNamed(`later-${m}`, { needs: ['first'], if: conditionOf(n, m) }),
    );
    const definition = definitionOf(jobNamed('first', { driver: 'shell' }), ...later);
    await one.runs.create('default', { definition, params: { x: 1 }, labels: {}, trigger });
  }
  const askedMs = performance.now();
  const driver = await connectObedient(other, { driver: 'shell', instance: 'a', slots: RUNS });
  await expect.poll(() => driver.started.length, { interval: 1, timeout: 20_000 }).toBe(RUNS);
  // Both replicas have compiled all by then, and polls in between would be what took most of the time.
  expect(performance.now() - askedMs).toBeLessThan(1.6 * (askedMs - beganMs));
});
