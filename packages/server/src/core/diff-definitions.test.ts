import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { diffDefinitions, MAX_CHANGES } from './diff-definitions.ts';
import type { JsonObject, JsonValue } from './json.ts';

const job = (name: string, rest: JsonObject = {}): JsonObject => ({ name, driver: 'shell', ...rest });
const same = { addedJobs: [], removedJobs: [], changedJobs: [], changes: [], changeCount: 0, onlyOrderDiffers: false };

/** Any JSON object, with fields that two of them are likely to share. */
const values: fc.Arbitrary<JsonValue> = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom<JsonValue>(null, true, 1, 'a', ''),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom('a', 'b', 'a.b', '__proto__'), tie('value'), { maxKeys: 3 }),
  ),
})).value;
const jobs = fc.uniqueArray(
  fc.record({
    name: fc.constantFrom('a', 'b', 'c', 'd'),
    needs: fc.subarray(['x', 'y', 'z']),
    spec: fc.dictionary(fc.constantFrom('a', 'b', 'c'), values, { maxKeys: 3 }),
  }),
  { selector: ({ name }) => name },
);
const definitions: fc.Arbitrary<JsonObject> = fc.record({
  jobs,
  labels: fc.dictionary(fc.constantFrom('k', 'l'), fc.string()),
});

describe('diffDefinitions', () => {
  it('tells what was added, removed and changed, by name and path', () => {
    const from = {
      jobs: [job('a', { spec: { run: 'make', env: { A: '1', 'B.C': '2' } } }), job('b'), job('old')],
      labels: { team: 'core' },
    };
    const to = {
      jobs: [job('new'), job('a', { spec: { run: 'make', env: { A: '2' } }, needs: ['b'] }), job('b')],
      labels: { team: 'core', tier: '1' },
    };
    expect(diffDefinitions(from, to)).toEqual({
      ...same,
      addedJobs: ['new'],
      removedJobs: ['old'],
      changedJobs: [
        {
          name: 'a',
          changes: [
            { path: 'spec.env.A', oldValue: '1', newValue: '2' },
            { path: 'spec.env["B.C"]', oldValue: '2', newValue: undefined },
            { path: 'needs', oldValue: undefined, newValue: ['b'] },
          ],
        },
      ],
      changes: [{ path: 'labels.tier', oldValue: undefined, newValue: '1' }],
      changeCount: 4,
    });
  });

  it('compares lists entry by entry when they are as long, else as a whole', () => {
    const changes = (before: JsonValue, after: JsonValue) =>
      diffDefinitions({ jobs: [job('a', { spec: { l: before } })] }, { jobs: [job('a', { spec: { l: after } })] })
        .changedJobs[0]?.changes;
    expect(changes([1, { a: 1 }], [1, { a: 2 }])).toEqual([{ path: 'spec.l[1].a', oldValue: 1, newValue: 2 }]);
    expect(changes([1], [1, 2])).toEqual([{ path: 'spec.l', oldValue: [1], newValue: [1, 2] }]);
    expect(changes([2, 1], [1, 2])).toHaveLength(2);
    expect(changes(null, {})).toEqual([{ path: 'spec.l', oldValue: null, newValue: {} }]);
  });

  it('says when nothing but an order differs', () => {
    const from = { jobs: [job('a'), job('b'), job('c', { needs: ['a', 'b'], secrets: ['x', 'y'] })] };
    const to = { jobs: [job('b'), job('c', { needs: ['b', 'a'], secrets: ['y', 'x'] }), job('a')] };
    expect(diffDefinitions(from, to)).toEqual({ ...same, onlyOrderDiffers: true });
    expect(diffDefinitions(from, structuredClone(from))).toEqual(same);
  });

  it('counts what it does not list, and tells what is below a long path as a whole', () => {
    const many = (value: number) => ({
      jobs: Array.from({ length: MAX_CHANGES + 7 }, (_, n) => job(`j${n}`, { spec: { value } })),
    });
    const diff = diffDefinitions(many(1), many(2));
    expect(diff.changeCount).toBe(MAX_CHANGES + 7);
    expect(diff.changedJobs.flatMap(({ changes }) => changes)).toHaveLength(MAX_CHANGES);
    expect(diff.changedJobs).toHaveLength(MAX_CHANGES + 7);
    const deep = (value: number) => ({ ['k'.repeat(600)]: { inner: { value } } });
    expect(diffDefinitions(deep(1), deep(2)).changes).toEqual([
      { path: 'k'.repeat(600), oldValue: { inner: { value: 1 } }, newValue: { inner: { value: 2 } } },
    ]);
  });

  it('finds no difference between a definition and itself in another order, and the same ones both ways', () => {
    fc.assert(
      fc.property(definitions, definitions, fc.infiniteStream(fc.nat()), (from, to, random) => {
        const shuffle = (list: JsonValue) =>
          (list as JsonValue[])
            .map((item) => ({ item, at: random.next().value as number }))
            .toSorted((a, b) => a.at - b.at)
            .map(({ item }) => item);
        const other = { ...from, jobs: shuffle(from['jobs']!) };
        expect(diffDefinitions(from, other)).toMatchObject({ ...same, onlyOrderDiffers: expect.any(Boolean) });
        const there = diffDefinitions(from, to);
        const back = diffDefinitions(to, from);
        expect(back.addedJobs).toEqual(there.removedJobs);
        expect(back.changeCount).toBe(there.changeCount);
        const swapped = there.changes.map(({ path, oldValue, newValue }) => ({
          path,
          oldValue: newValue,
          newValue: oldValue,
        }));
        expect(new Set(back.changes.map((change) => JSON.stringify(change)))).toEqual(
          new Set(swapped.map((change) => JSON.stringify(change))),
        );
      }),
      { numRuns: 300 },
    );
  });
});
