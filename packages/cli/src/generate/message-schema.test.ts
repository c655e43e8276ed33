import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type JsonObject, type JsonValue, toJson } from '@bufbuild/protobuf';
import { PipelineDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { ScheduleSpecSchema } from '@conveyor/protocol/conveyor/v1/schedule_pb.js';
import { Ajv } from 'ajv';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { messageJson } from '../message-yaml.ts';
import { PipelineFileError, parsePipeline } from '../pipeline-file.ts';
import { readSchedule } from '../schedule-file.ts';
import { messages } from '../testing/arbitrary-message.ts';

const { resolve } = createRequire(import.meta.url);
const schemas = Object.fromEntries(
  ['pipeline', 'schedule'].map((name) => {
    const text = readFileSync(resolve(`@conveyor/protocol/schema/${name}.schema.json`), 'utf8');
    return [name, JSON.parse(text) as JsonObject];
  }),
);
// Editors know keywords that the standard does not.
const ajv = new Ajv({
  allErrors: true,
  strict: true,
  strictTypes: false,
  strictRequired: false,
  keywords: ['doNotSuggest'],
});
const fitsPipeline = ajv.compile(schemas['pipeline']!);
const fitsSchedule = ajv.compile(schemas['schedule']!);

function isRead(source: string): boolean {
  try {
    parsePipeline(source, 'ci.json');
    return true;
  } catch (thrown) {
    if (thrown instanceof PipelineFileError) return false;
    throw thrown;
  }
}

const job = (fields: JsonObject): JsonObject => ({ jobs: [{ name: 'a', driver: 'shell', ...fields }] });

describe('the JSON Schema of pipelines', () => {
  const examples = new URL('../../../../examples/', import.meta.url);
  const files = readdirSync(examples, { recursive: true, encoding: 'utf8' }).filter(
    (file) => /(^|\/)[^/]*pipeline[^/]*\.ya?ml$/.test(file) && !file.includes('node_modules'),
  );
  const written = files.map((file): [string, string] => [file, readFileSync(new URL(file, examples), 'utf8')]);
  const [, documented = ''] =
    /```yaml\n(name.*?)```/s.exec(readFileSync(new URL('../../../../docs/cli.md', import.meta.url), 'utf8')) ?? [];

  it.each([...written, ['docs/cli.md', documented]])('accepts %s', (_, source) => {
    expect(fitsPipeline(parse(source, { merge: true })), ajv.errorsText(fitsPipeline.errors)).toBe(true);
  });

  it('is tried on every example', () => expect(files.length).toBeGreaterThanOrEqual(3));

  it('accepts every definition, however it is spelt', () => {
    fc.assert(
      fc.property(messages(PipelineDefinitionSchema), (definition) => {
        for (const json of [
          messageJson(PipelineDefinitionSchema, definition),
          toJson(PipelineDefinitionSchema, definition),
          toJson(PipelineDefinitionSchema, definition, { useProtoFieldName: true }),
        ]) {
          expect(fitsPipeline(json), ajv.errorsText(fitsPipeline.errors)).toBe(true);
        }
      }),
      { numRuns: 200 },
    );
  });

  it.each<[string, JsonValue]>([
    ['a list', []],
    ['a misspelt field', { job: [] }],
    ['a misspelt field of a job', job({ need: [] })],
    ['a field twice', { paramsSchema: {}, params_schema: null }],
    ['a name that is no text', { name: 1 }],
    ['needs that are no list', job({ needs: 'a' })],
    ['needs that are nothing', job({ needs: [null] })],
    ['an unknown condition', job({ when: 'never' })],
    ['a condition that is not set', job({ when: 'RUN_CONDITION_UNSPECIFIED' })],
    ['a condition by number', job({ when: 1 })],
    ['a duration without unit', job({ timeouts: { runTimeout: '10' } })],
    ['a duration as number', job({ timeouts: { runTimeout: 10 } })],
    ['a duration that the contract cannot hold', job({ timeouts: { runTimeout: '9999999d' } })],
    ['a part of a retry', job({ retry: { workload: 1.5 } })],
    ['a retry that is too large', job({ retry: { workload: 2 ** 31 } })],
    ['a spec that is no object', job({ spec: [] })],
    ['a label that is no text', { labels: { a: 1 } }],
    ['a truth that is none', job({ allowFailure: 'yes' })],
  ])('refuses %s, as the command does', (_, json) => {
    expect(fitsPipeline(json)).toBe(false);
    expect(isRead(JSON.stringify(json))).toBe(false);
  });

  it.each<[string, JsonValue]>([
    ['nothing in a field', { name: 'a', jobs: null, labels: null }],
    ['nothing in a field of a job', job({ spec: null, when: null, timeouts: null, retry: { jitter: null } })],
    ['short names in any case', job({ when: 'Always', on_lease_doubt: 'STOP' })],
    ['names of the contract', job({ when: 'RUN_CONDITION_ALWAYS' })],
  ])('accepts %s, as the command does', (_, json) => {
    expect(fitsPipeline(json), ajv.errorsText(fitsPipeline.errors)).toBe(true);
    expect(isRead(JSON.stringify(json))).toBe(true);
  });

  it('accepts exactly what the command reads', () => {
    const odd = fc.constantFrom<JsonValue>(
      null,
      true,
      0,
      1.5,
      -1,
      2 ** 40,
      '',
      'always',
      'Stop',
      '10m',
      '10 m',
      [],
      ['a'],
      {},
      { name: 'a' },
    );
    fc.assert(
      fc.property(
        messages(PipelineDefinitionSchema),
        fc.infiniteStream(fc.nat()),
        odd,
        (definition, choices, value) => {
          const next = (below: number) => Number(choices.next().value) % below;
          const changed = changedSomewhere(messageJson(PipelineDefinitionSchema, definition), value, next);
          expect(fitsPipeline(changed), JSON.stringify(changed)).toBe(isRead(JSON.stringify(changed)));
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it('describes every field', () => {
    const undescribed = JSON.stringify(schemas['pipeline'], (_, value: JsonValue) => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
      const properties = Object.values((value['properties'] as Record<string, JsonObject> | undefined) ?? {});
      return properties.every(({ description }) => typeof description === 'string')
        ? value
        : { ...value, missing: 'a comment' };
    });
    expect(undescribed).not.toContain('"missing":"a comment"');
  });
});

describe('the JSON Schema of schedules', () => {
  it('accepts every schedule', () => {
    fc.assert(
      fc.property(messages(ScheduleSpecSchema), (spec) => {
        expect(fitsSchedule(messageJson(ScheduleSpecSchema, spec)), ajv.errorsText(fitsSchedule.errors)).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  it.each<[string, JsonObject]>([
    ['two things to run', { run: { pipeline: 'ci', definition: {} } }],
    ['a time without zone', { startTime: '2026-01-31T12:00:00' }],
    ['a pause that is nothing', { paused: null }],
  ])('refuses %s, as the command does', (_, json) => {
    expect(fitsSchedule(json)).toBe(false);
    expect(readSchedule(JSON.stringify(json), 'n.json')).toHaveProperty(['problems', 0]);
  });

  it('accepts a pipeline by its name', () => expect(fitsSchedule({ run: { pipeline: 'ci' } })).toBe(true));
});

/** The JSON with another value, or a field of another name, somewhere on the way that the choices go. */
function changedSomewhere(json: JsonValue, value: JsonValue, next: (below: number) => number): JsonValue {
  if (typeof json !== 'object' || json === null || next(4) === 0) return value;
  if (Array.isArray(json)) {
    const at = next(json.length + 1);
    return at === json.length ? [...json, value] : json.with(at, changedSomewhere(json[at]!, value, next));
  }
  const names = Object.keys(json);
  const name = names[next(names.length + 1)] ?? ['when', 'paramsSchema', 'jobs', 'retry', 'x'][next(5)]!;
  const changed = changedSomewhere(json[name] ?? {}, value, next);
  const renamed = next(5) === 0 ? name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`) : name;
  return { ...json, [renamed]: changed };
}
