import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ByIndex } from './by-index.ts';
import { decide } from './decide.ts';
import { beforeFirstEvent } from './evolve.ts';
import { compilePlan } from './plan.ts';
import type { RunSlice } from './run-state.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';

it('is what a map in the order of its keys is, and a copy of it is another one', () => {
  const index = fc.integer({ min: 0, max: 600 });
  const step = fc.oneof(
    fc.record({ of: fc.nat(), index, value: fc.nat() }),
    fc.record({ of: fc.nat(), copy: fc.constant(true) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const all = [{ real: ByIndex.from(new Map<number, number>()), model: new Map<number, number>() }];
      for (const next of steps) {
        const { real, model } = all[next.of % all.length]!;
        if ('copy' in next) all.push({ real: ByIndex.from(real), model: new Map(model) });
        else {
          real.set(next.index, next.value);
          model.set(next.index, next.value);
        }
      }
      for (const { real, model } of all) {
        const sorted = [...model].sort(([a], [b]) => a - b);
        expect([...real]).toEqual(sorted);
        expect([...ByIndex.from(model)]).toEqual(sorted);
        expect([...real.keys()]).toEqual(sorted.map(([key]) => key));
        expect([...real.values()]).toEqual(sorted.map(([, value]) => value));
        const each: (readonly [number, number])[] = [];
        real.forEach((value, key, of) => each.push([key, of.get(key) ?? value]));
        expect(each).toEqual(sorted);
        expect(real.size).toBe(model.size);
        for (let at = 0; at <= 600; at += 25)
          expect([real.get(at), real.has(at)]).toEqual([model.get(at), model.has(at)]);
      }
    }),
  );
});

/** How long a thousand decisions take, each on the next job of runs of so many jobs that are all loaded. */
function thousandOffers(jobs: number): number {
  const plan = compilePlan(definitionOf(...Array.from({ length: jobs }, (_, n) => jobNamed(`job${n}`))));
  const trigger = { kind: 'api', actor: '', reference: '' };
  const fresh = decide(beforeFirstEvent(plan), { type: 'Create', trigger }, 1_000).after;
  const beganMs = performance.now();
  let slice: RunSlice = fresh;
  for (let n = 0; n < 1_000; n++) {
    if (n % jobs === 0) slice = fresh;
    const { run, jobs: after } = decide(
      slice,
      { type: 'Offer', job: n % jobs, instance: 1, instanceId: 'i-1' },
      1_000,
    ).after;
    slice = { plan, run, jobs: after };
  }
  return performance.now() - beganMs;
}

it('a decision on one job costs about the same however many jobs of its run are loaded', () => {
  const best = (jobs: number): number => Math.min(...Array.from({ length: 5 }, () => thousandOffers(jobs)));
  best(100);
  // It was over a hundred times as long when each copied all jobs.
  expect(best(10_000)).toBeLessThan(50 * best(100));
});
