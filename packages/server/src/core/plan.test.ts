import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compilePlan, plannedJob } from './plan.ts';
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
