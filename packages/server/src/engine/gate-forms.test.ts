// What people write into the form of a gate, and what its defaults make of it.
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JsonObject } from '../core/json.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { type EngineFixture, openEngineFixture } from './testing/engine-fixture.ts';

const project = 'default';
const trigger = { kind: 'api', actor: '', reference: '' };
const note = { type: 'object', default: {}, properties: { text: { default: 'none' } } };
const formSchema = { properties: { note }, allOf: [{ properties: { level: { default: 1 } } }] };
const gate = { message: '', approvers: [], quorum: 2, formSchema, onTimeout: 'FAIL' } as const;
const definition = definitionOf(jobNamed('ask', { driver: '', gate }));

let fixture: EngineFixture;

beforeAll(async () => {
  fixture = await openEngineFixture();
});
afterAll(() => fixture[Symbol.asyncDispose]());

test('a default of a form counts for less than what anybody wrote, whoever answers last', async () => {
  const answers: [JsonObject, JsonObject][] = [
    [{ note: { text: 'important' }, level: 2 }, {}],
    [{}, { level: 2, note: { text: 'important' } }],
    [{ note: {} }, {}],
  ];
  const outputs = await Promise.all(
    answers.map(async ([ada, bob]) => {
      const { runId } = await fixture.engine.runs.create(project, { definition, params: {}, labels: {}, trigger });
      const asked = { runId, job: 0 };
      const reply = { verdict: 'APPROVE', groups: [], comment: '' } as const;
      const first = await fixture.engine.jobs.answerGate(project, asked, { ...reply, actor: 'ada', answers: ada });
      expect(Object.keys(first.answers?.[0]?.answers ?? {})).toEqual(Object.keys(ada));
      return (await fixture.engine.jobs.answerGate(project, asked, { ...reply, actor: 'bob', answers: bob })).outputs;
    }),
  );
  const important = { note: { text: 'important' }, level: 2 };
  expect(outputs).toEqual([important, important, { note: { text: 'none' }, level: 1 }]);
});
