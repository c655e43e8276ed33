import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ByIndex } from './by-index.ts';

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
