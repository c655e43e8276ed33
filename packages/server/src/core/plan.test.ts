import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Addition, Definition } from './definition.ts';
import { compilePlan, growPlan, planWith, plannedJob } from './plan.ts';
import { definitionOf, definitions, jobNamed } from './testing/definitions.ts';

test('needs and dependants are the same edges, seen from both ends', () => {
  fc.assert(
    fc.property(definitions, (definition) => {
      const { jobs } = compilePlan(definition);
      const edges = jobs.flatMap(({ index, needs }) => needs.map((need) => `${need}-${index}`));
      const mirrored = jobs.flatMap(({ index, dependants }) => dependants.map((dependant) => `${index}-${dependant}`));
      expect(mirrored.toSorted()).toEqual(edges.toSorted());
      const named = definition.jobs.flatMap(({ name, needs }) => needs.map((need) => `${need}-${name}`));
      const nameOf = (index: number): string => jobs[index]?.name ?? '';
      const written = jobs.flatMap(({ index, needs }) => needs.map((need) => `${nameOf(need)}-${nameOf(index)}`));
      expect(written).toEqual(named);
    }),
  );
});

test('a need that does not exist, and a job that does not, are broken invariants', () => {
  expect(() => compilePlan(definitionOf(jobNamed('a', { needs: ['b'] })))).toThrow('job a needs b');
  expect(() => plannedJob(compilePlan(definitionOf(jobNamed('a'))), 1)).toThrow('the plan has no job 1');
});

/** A run whose first job appends others so many times, each of which needs one of the time before; one job comes after them all. */
function appending(times: number, jobs: number): { readonly base: Definition; readonly added: readonly Addition[] } {
  const base = definitionOf(jobNamed('first'), jobNamed('last', { when: 'FINALLY' }));
  const added = Array.from({ length: times }, (_, time): Addition => {
    const needs = [time === 0 ? 'first' : `job-${time - 1}-0`];
    return { by: 0, jobs: Array.from({ length: jobs }, (_, n) => jobNamed(`job-${time}-${n}`, { needs })) };
  });
  return { base, added };
}

test('a definition with what was added to it has the plan that grew by that, at each point', () => {
  const { base, added } = appending(3, 2);
  const matrix = jobNamed('matrix', { needs: ['job-2-1'], matrix: { axes: { n: [1, 2] }, maxParallel: 1 } });
  const cells = [1, 2].map((n) => ({ key: String(n), values: { n } }));
  const all: Addition[] = [
    ...added,
    { by: 0, jobs: [matrix] },
    { job: 8, cells },
    { by: 0, jobs: [jobNamed('after', { needs: ['matrix'] })] },
  ];
  const plans = [compilePlan(base)];
  for (const addition of all) plans.push(growPlan(plans.at(-1)!, addition));
  expect(plans.at(-1)?.jobs.slice(-4)).toMatchObject([
    { name: 'matrix', needs: [7], dependants: [1, 11], cells: [9, 10], maxParallel: 1 },
    { name: 'matrix[1]', needs: [7], dependants: [8], cell: { of: 8, key: '1', values: { n: 1 } } },
    { name: 'matrix[2]', needs: [7], dependants: [8], cell: { of: 8, key: '2', values: { n: 2 } } },
    { name: 'after', needs: [8], dependants: [1] },
  ]);
  const whole = compilePlan({ ...base, added: all });
  for (const { jobs, definition } of plans) {
    const then = planWith(whole, jobs.length);
    expect([then.jobs, then.definition]).toEqual([jobs, definition]);
  }
  expect(plans[1]?.jobs[1]?.needs).toEqual([0, 2, 3]);
});

test('a definition is compiled by looking at each job a few times, however often some were added to it', () => {
  let looks = 0;
  const { base, added } = appending(100, 10);
  for (const job of base.jobs) Object.defineProperty(job, 'when', { get: () => (looks++, 'FINALLY') });
  compilePlan({ ...base, added });
  expect(looks).toBeLessThan(20);
});
