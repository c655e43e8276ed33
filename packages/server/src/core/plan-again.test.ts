import { describe, expect, it } from 'vitest';
import type { Addition, JobDefinition } from './definition.ts';
import { compilePlan, type Plan } from './plan.ts';
import { planAgain } from './plan-again.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';

const cellsOf = (job: number, ...keys: string[]): Addition => ({
  job,
  cells: keys.map((key) => ({ key, values: { n: key } })),
});
const appendedBy = (by: number, ...jobs: JobDefinition[]): Addition => ({ by, jobs });

/** 0: one, 1: other, 2: many, a matrix that needs one; then what is added. */
function planWith(...added: Addition[]): Plan {
  const many = jobNamed('many', { needs: ['one'], matrix: { axes: { n: ['a', 'b'] } } });
  return compilePlan({ ...definitionOf(jobNamed('one'), jobNamed('other'), many), added });
}

function namesAgain(plan: Plan, ...again: string[]): readonly string[] {
  const indexes = plan.jobs.flatMap(({ name, index }) => (again.includes(name) ? [index] : []));
  return planAgain(plan, new Set(indexes)).jobs.map(({ name }) => name);
}

describe('of what jobs appended, a run again', () => {
  it('has all when those that appended it are not run again', () => {
    const plan = planWith(appendedBy(0, jobNamed('x')), appendedBy(1, jobNamed('y', { needs: ['x'] })));
    expect(planAgain(plan, new Set([4]))).toBe(plan);
  });

  it('has nothing of a job that is run again, nor what that appended in turn', () => {
    const plan = planWith(appendedBy(0, jobNamed('x')), appendedBy(3, jobNamed('y')), appendedBy(1, jobNamed('z')));
    expect(namesAgain(plan, 'one')).toEqual(['one', 'other', 'many', 'z']);
  });

  it('has none that need what is gone, also by way of others, and those that came with them', () => {
    const jobs = [
      jobNamed('far', { needs: ['near'] }),
      jobNamed('near', { needs: ['x'] }),
      jobNamed('apart'),
      jobNamed('after', { needs: ['apart'] }),
    ];
    const plan = planWith(appendedBy(0, jobNamed('x')), appendedBy(1, ...jobs), appendedBy(6, jobNamed('late')));
    const names = ['one', 'other', 'many', 'apart', 'after', 'late'];
    expect(namesAgain(plan, 'one')).toEqual(names);
    expect(planAgain(plan, new Set([0])).definition.added).toMatchObject([{ by: 1 }, { by: 3 }]);
  });

  it('is found by looking at each a few times, however they stand', () => {
    let looks = 0;
    const jobs = Array.from({ length: 1_000 }, (_, n) => {
      const needs = [n === 999 ? 'x' : `job-${n + 1}`];
      return Object.defineProperty(jobNamed(`job-${n}`), 'needs', { get: () => (looks++, needs) });
    });
    const plan = planWith(appendedBy(0, jobNamed('x')), appendedBy(1, ...jobs));
    looks = 0;
    expect(namesAgain(plan, 'one')).toEqual(['one', 'other', 'many']);
    expect(looks).toBeLessThan(5_000);
  });

  it('is looked at a few times, too, however often jobs were appended', () => {
    let looks = 0;
    const times = Array.from({ length: 100 }, (_, n) => appendedBy(1, jobNamed(`job-${n}`)));
    const plan = planWith(appendedBy(0, jobNamed('x')), ...times);
    for (const job of plan.definition.jobs) {
      const { when } = job;
      Object.defineProperty(job, 'when', { get: () => (looks++, when) });
    }
    expect(namesAgain(plan, 'one')).toHaveLength(103);
    expect(looks).toBeLessThan(30);
  });

  it('has the cells of a matrix when only cells are run again', () => {
    const plan = planWith(cellsOf(2, 'a', 'b'));
    expect(namesAgain(plan, 'many', 'many[b]')).toEqual(['one', 'other', 'many', 'many[a]', 'many[b]']);
    expect(namesAgain(plan, 'many')).toEqual(['one', 'other', 'many']);
    expect(namesAgain(plan, 'one', 'many', 'many[a]', 'many[b]')).toEqual(['one', 'other', 'many']);
  });

  it('has no cells of a matrix that is gone, and none that were no cells', () => {
    const appended = jobNamed('more', { matrix: { axes: { n: ['a'] } } });
    const plan = planWith(cellsOf(2), appendedBy(1, appended), cellsOf(3, 'a'));
    expect(namesAgain(plan, 'other')).toEqual(['one', 'other', 'many']);
    expect(planAgain(plan, new Set([2])).definition.added).toHaveLength(2);
  });
});
