// Rules of labels, each operator with labels that are there, that are not, and that are no numbers; pools; and what is wrong with rules.
import { describe, expect, test } from 'vitest';
import type { Found } from './check-fields.ts';
import { checkPlacement, type PlacementInput } from './check-placement.ts';
import type { LabelOperator } from './definition.ts';
import { holds, mayTake, preference } from './placement.ts';

const labels = { os: 'linux', cores: '8', zone: 'a', odd: 'many' };

describe('a rule', () => {
  test.each<[string, LabelOperator, string[], boolean]>([
    ['os', 'EQUALS', ['linux'], true],
    ['os', 'EQUALS', ['mac'], false],
    ['gpu', 'EQUALS', ['a100'], false],
    ['zone', 'IN', ['a', 'b'], true],
    ['zone', 'IN', ['b', 'c'], false],
    ['zone', 'NOT_IN', ['a'], false],
    ['zone', 'NOT_IN', ['b'], true],
    ['gpu', 'NOT_IN', ['a100'], true],
    ['os', 'EXISTS', [], true],
    ['gpu', 'EXISTS', [], false],
    ['constructor', 'EXISTS', [], false],
    ['os', 'NOT_EXISTS', [], false],
    ['gpu', 'NOT_EXISTS', [], true],
    ['cores', 'GREATER_THAN', ['7.5'], true],
    ['cores', 'GREATER_THAN', ['8'], false],
    ['cores', 'LESS_THAN', ['10'], true],
    ['cores', 'LESS_THAN', ['-1'], false],
    ['odd', 'GREATER_THAN', ['0'], false],
    ['odd', 'LESS_THAN', ['0'], false],
    ['gpu', 'LESS_THAN', ['5'], false],
  ])('%s %s %j is %s', (key, operator, values, expected) => {
    expect(holds({ key, operator, values }, labels)).toBe(expected);
  });
});

describe('an instance', () => {
  const instance = { labels, pools: { gpu: 2, none: 0 } };
  const rule = (key: string, value: string) => ({ key, operator: 'EQUALS' as const, values: [value] });

  test('may take jobs that ask for nothing, and those all of whose required rules hold', () => {
    expect(mayTake(instance, undefined)).toBe(true);
    const selector = { required: [rule('os', 'linux'), rule('zone', 'a')], preferred: [rule('zone', 'b')] };
    expect(mayTake(instance, { selector })).toBe(true);
    expect(mayTake(instance, { selector: { ...selector, required: [rule('os', 'linux'), rule('zone', 'b')] } })).toBe(
      false,
    );
  });

  test('may take jobs of the pools of which it has slots', () => {
    expect(['gpu', 'none', 'tpu'].map((pool) => mayTake(instance, { pool }))).toEqual([true, false, false]);
  });

  test('is preferred by the number of rules that hold', () => {
    const preferred = [rule('os', 'linux'), rule('zone', 'b'), rule('zone', 'a')];
    expect(preference(instance, { selector: { required: [], preferred } })).toBe(2);
    expect(preference(instance, undefined)).toBe(0);
  });
});

describe('what a job says of its placement', () => {
  const check = (input: Partial<PlacementInput>) => {
    const found: Found = [];
    const checked = checkPlacement(found, 'job', input);
    return { checked, found };
  };

  test('leaves out what is the default, so that definitions of before keep their digest', () => {
    expect(check({ selector: { required: [], preferred: [] } })).toEqual({ checked: {}, found: [] });
  });

  test('is filled in', () => {
    const required = [{ key: 'os', values: ['linux'] }];
    const { checked, found } = check({
      selector: { required, preferred: [] },
      priority: 5,
      pool: 'gpu',
      stickyKey: 'repo',
    });
    expect(found).toEqual([]);
    const rules = [{ key: 'os', operator: 'EQUALS', values: ['linux'] }];
    expect(checked).toEqual({
      selector: { required: rules, preferred: [] },
      priority: 5,
      pool: 'gpu',
      stickyKey: 'repo',
    });
  });

  const ruled = (rule: object): Partial<PlacementInput> => ({
    selector: { required: [{ key: 'k', values: [], ...rule }], preferred: [] },
  });
  test.each<[string, Partial<PlacementInput>, string]>([
    ['a priority out of bounds', { priority: 101 }, 'job.priority'],
    ['a malformed pool', { pool: 'G P U' }, 'job.pool'],
    ['a long sticky key', { stickyKey: 'x'.repeat(129) }, 'job.sticky_key'],
    ['a malformed key', ruled({ key: 'a b', operator: 'EXISTS' }), 'job.selector.required[0].key'],
    ['an unknown operator', ruled({ operator: '9' }), 'job.selector.required[0].operator'],
    ['no value to equal', ruled({}), 'job.selector.required[0].values'],
    ['no values to be in', ruled({ operator: 'IN' }), 'job.selector.required[0].values'],
    ['values of what exists', ruled({ operator: 'EXISTS', values: ['x'] }), 'job.selector.required[0].values'],
    ['two numbers', ruled({ operator: 'LESS_THAN', values: ['1', '2'] }), 'job.selector.required[0].values'],
    ['no number', ruled({ operator: 'GREATER_THAN', values: ['x'] }), 'job.selector.required[0].values[0]'],
    [
      'many rules',
      { selector: { required: [], preferred: Array.from({ length: 33 }, () => ({ key: 'k', values: ['v'] })) } },
      'job.selector.preferred',
    ],
  ])('is refused for %s', (_, input, field) => {
    expect(check(input).found.map((violation) => violation.field)).toContain(field);
  });
});
