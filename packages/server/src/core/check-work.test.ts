import { describe, expect, it, test } from 'vitest';
import { checkDefinition, type DefinitionInput, type JobInput } from './check-definition.ts';
import type { Found } from './check-fields.ts';
import { createCheckWork, schemaWork } from './check-work.ts';
import type { JsonObject } from './json.ts';
import { atOnce } from './testing/at-once.ts';
import { definitionInput as definition, jobInput as job } from './testing/inputs.ts';

/** An object schema of so many properties. */
function schemaOf(count: number, each: (index: number) => JsonObject): JsonObject {
  return { properties: Object.fromEntries(Array.from({ length: count }, (_, n) => [`p${n}`, each(n)])) };
}

function findings(input: DefinitionInput, work = createCheckWork()): Found {
  const found: Found = [];
  atOnce(checkDefinition(found, 'd', input, work));
  return found;
}

describe('what is costly to check', () => {
  it('is bounded in a schema', () => {
    const patterns = schemaOf(300, (n) => ({ pattern: `^a${n}$` }));
    const [params] = findings(definition([job('a')], { paramsSchema: patterns }));
    expect(params).toMatchObject({
      field: 'd.params_schema',
      description: expect.stringMatching(/2703, of at most 2500/),
    });
    expect(findings(definition([job('a', { outputsSchema: patterns })]))[0]?.field).toBe('d.jobs[0].outputs_schema');
    const gate = { message: '', approvers: [], quorum: 0, formSchema: patterns };
    expect(findings(definition([job('a', { driver: '', gate })]))[0]?.field).toBe('d.jobs[0].gate.form_schema');
    expect(findings(definition([job('a')], { paramsSchema: schemaOf(250, (n) => ({ pattern: `^a${n}$` })) }))).toEqual(
      [],
    );
  });

  it('is counted dearly where it takes long', () => {
    expect(schemaWork({ enum: [1, 2, 3] })).toBe(2);
    expect(schemaWork({ patternProperties: { a: true } })).toBe(2 + 1 + 6);
    expect(schemaWork({ unevaluatedProperties: false })).toBe(3);
    expect(schemaWork({ type: 'string', pattern: 'x'.repeat(200) })).toBe(3 + 15);
  });

  it('is bounded in all schemas of a request', () => {
    const jobs = Array.from({ length: 11 }, (_, n) =>
      job(`j${n}`, { outputsSchema: { title: `${n}`, ...schemaOf(800, () => ({ title: 'x' })) } }),
    );
    expect(findings(definition(jobs))).toEqual([
      { field: 'd.jobs[10].outputs_schema', description: expect.stringMatching(/is one too many: .* at most 25000/) },
    ]);
  });

  it('is bounded in the different patterns of expressions', () => {
    const matching = (pattern: string): Partial<JobInput> => ({ if: `params.x.matches("${pattern}")` });
    const different = Array.from({ length: 60 }, (_, n) => job(`j${n}`, matching(`${'a'.repeat(900)}${n}`)));
    const [first] = findings(definition(different));
    expect(first).toMatchObject({ field: 'd.jobs[55].if', description: expect.stringMatching(/at most 50000/) });
    const same = different.map(({ name }) => job(name, matching('a'.repeat(900))));
    expect(findings(definition(same))).toEqual([]);
  });

  it('is bounded in all expressions of a request', () => {
    const work = createCheckWork();
    const large = definition(
      Array.from({ length: 100 }, (_, n) => job(`j${n}`, { if: `params.x == "${'y'.repeat(900)}"` })),
    );
    expect([findings(large, work), findings(large, work)]).toEqual([[], []]);
    expect(findings(large, work)).toEqual([
      { field: expect.stringMatching(/^d\.jobs/), description: expect.stringMatching(/more than 262144 characters/) },
    ]);
  });

  it('comes in slices of one job', () => {
    const jobs = Array.from({ length: 50 }, (_, n) => job(`j${n}`, { outputsSchema: { title: `${n}` } }));
    expect([...checkDefinition([], 'd', definition(jobs), createCheckWork())].length).toBeGreaterThan(3 * jobs.length);
  });
});

/** Of this process alone, in ms: others have the processor, too. */
function cpuMs(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}

test('names that are nearly those of many needs are looked for only as often as is told', { timeout: 60_000 }, () => {
  const needs = Array.from({ length: 999 }, (_, n) => `n${n}${'x'.repeat(85)}`.padEnd(94, '0').slice(0, 94));
  const spec = { t: needs.slice(0, 90).map((need) => `\${{ needs["${need.slice(0, 90)}zzz"].outcome }}`) };
  const jobs = [
    ...needs.map((need) => job(need)),
    ...Array.from({ length: 4 }, (_, n) => job(`reads-${n}`, { needs, spec })),
  ];
  let found: Found = [];
  // It took a minute when every name was held against every other.
  expect(cpuMs(() => (found = findings(definition(jobs))))).toBeLessThan(5_000);
  expect(found).toHaveLength(100);
});
