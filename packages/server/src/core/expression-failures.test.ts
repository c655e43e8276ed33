import { describe, expect, it } from 'vitest';
import { jsonBytes } from './check-fields.ts';
import { joinProblems, type Problem, problemOf } from './expression-failures.ts';
import { LIMITS } from './limits.ts';
import type { ConditionPart } from './run-state.ts';

const part = (expression: string, bytes = 0): ConditionPart => ({ expression, value: 'x'.repeat(bytes) });

function failing(field: string, parts: readonly ConditionPart[] = [], count = 1): Problem {
  const first = [{ field, expression: 'a.b', error: 'is wrong', parts }];
  return { message: `${field}: is wrong`, expressionFailures: { first, count } };
}

describe('several problems of a job', () => {
  it('are told by the message of the first, which is cut for the number of the others', () => {
    expect(joinProblems('its spec: ', [{ message: 'a' }])).toEqual({ message: 'its spec: a' });
    const several = [failing('a', [], 4), { message: 'b' }, failing('c')];
    expect(joinProblems('', several)).toMatchObject({
      message: 'a: is wrong (and 5 more)',
      expressionFailures: { count: 5, first: [{ field: 'a' }, { field: 'c' }] },
    });
    expect(joinProblems('', [failing(`x${'😀'.repeat(600)}`, [], 3)]).message.isWellFormed()).toBe(true);
    const long = joinProblems('', [failing('x'.repeat(2_000), [], 3)]).message;
    expect(long).toMatch(/^x+ \(and 2 more\)$/);
    expect(long.length).toBeLessThanOrEqual(1_024);
  });

  it('that are told several by one message are not counted again', () => {
    const unfit = { message: 'a, b; 1 more', size: 3, told: 3 };
    expect(joinProblems('', [unfit]).message).toBe('a, b; 1 more');
    expect(joinProblems('', [unfit, failing('c', [], 2)]).message).toBe('a, b; 1 more (and 2 more)');
    expect(joinProblems('', [failing('c', [], 2), unfit]).message).toBe('c: is wrong (and 4 more)');
  });

  it('count once when they are the same', () => {
    expect(joinProblems('', [failing('env.a'), failing('env.a')])).toEqual(failing('env.a'));
  });
});

describe('failures that are kept', () => {
  const fieldsOf = (problems: readonly Problem[]) =>
    joinProblems('', problems).expressionFailures?.first.map(({ field }) => field);

  it('are ten at most', () => {
    const problems = Array.from({ length: 12 }, (_, n) => failing(`spec.a${n}`));
    expect(fieldsOf(problems)).toEqual(problems.slice(0, LIMITS.expressionFailures).map((_, n) => `spec.a${n}`));
  });

  it('have bounded bytes, within which parts and failures are left out', () => {
    const parts = Array.from({ length: 60 }, (_, n) => part(`p${n}`, 1_000));
    const problems = [failing('a', parts), failing('b', [...parts, part('small')]), failing('c')];
    const { first, count } = joinProblems('', problems).expressionFailures!;
    expect(jsonBytes(first)).toBeLessThanOrEqual(LIMITS.expressionFailureBytes);
    expect(first[0]?.parts).toHaveLength(60);
    expect(first[1]?.parts.length).toBeLessThan(10);
    expect(first[1]?.parts.at(-1)).toEqual(part('small'));
    expect(first[2]?.field).toBe('c');
    expect(count).toBe(3);
    expect(
      fieldsOf([failing('a', [part('all', LIMITS.expressionFailureBytes - 110)]), failing('b'), failing('c')]),
    ).toEqual(['a']);
  });

  it('have a path of bounded length', () => {
    const key = '😀'.repeat(200);
    const failed = [{ field: `spec.${key}`, expression: 'a.b', error: 'is wrong', parts: [] }];
    const { message, expressionFailures } = problemOf(
      { field: `spec.${key}`, error: 'is wrong', failed, count: 1 },
      '',
    );
    const [field = ''] = expressionFailures!.first.map((failure) => failure.field);
    expect(field).toHaveLength(LIMITS.expressionFieldLength);
    expect(field.isWellFormed()).toBe(true);
    expect(message).toBe(`${field}: is wrong`);
    expect(problemOf({ field: 'build.spec.a', error: 'is wrong', failed: [], count: 0 }, 'build')).toEqual({
      message: 'spec.a: is wrong',
    });
  });
});
