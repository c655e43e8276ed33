// Calls are seen to whoever else's are stuck.
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JobDefinition } from '../core/definition.ts';
import type { RunId } from '../core/ids.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import type { RunningEngine } from './start-engine.ts';
import { type EngineFixture, openEngineFixture } from './testing/engine-fixture.ts';

const project = 'default';
const trigger = { kind: 'api', actor: '', reference: '' };

let fixture: EngineFixture;
let engine: RunningEngine;

beforeAll(async () => {
  fixture = await openEngineFixture();
  ({ engine } = fixture);
});
afterAll(() => fixture[Symbol.asyncDispose]());

async function createRun(...jobs: JobDefinition[]): Promise<RunId> {
  const definition = definitionOf(...jobs);
  return (await engine.runs.create(project, { definition, params: {}, labels: {}, trigger })).runId;
}

const calling = (name: string, pipeline: string) => jobNamed(name, { driver: '', call: { pipeline, params: {} } });

async function countChildren(where: string): Promise<number> {
  const { rows } = await fixture.pools.pool.query(
    `select count(*)::int as count from runs r join calls c on c.child_run = r.run_id where ${where}`,
  );
  return rows[0].count;
}

test('a hundred calls whose runs take long to stop keep nobody else waiting', async () => {
  // No driver is there: what always runs waits for one, and the run of the call with it.
  const definition = definitionOf(jobNamed('tidy', { when: 'ALWAYS' }));
  await engine.pipelines.apply(project, 'slow', definition);
  const many = Array.from({ length: 120 }, (_, n) => calling(`call${n}`, 'slow'));
  const stuck = await createRun(...many);
  await expect.poll(() => countChildren('true'), { timeout: 15_000 }).toBe(120);
  await engine.runs.cancel(project, stuck, 'enough', false);
  await expect.poll(() => countChildren("r.state = 'CANCELLING'"), { timeout: 15_000 }).toBe(120);
  const other = await createRun(calling('call', 'slow'));
  await expect.poll(() => countChildren(`c.run_id = '${other}'`), { timeout: 5_000 }).toBe(1);
});

test('a call whose run put out more than it may hand on fails and says so, without reading it all', async () => {
  const gate = { message: '', approvers: [], quorum: 1, onTimeout: 'FAIL' } as const;
  const count = 15;
  const definition = definitionOf(
    ...Array.from({ length: count }, (_, n) => jobNamed(`ask${n}`, { driver: '', gate })),
  );
  await engine.pipelines.apply(project, 'wide', definition);
  const runId = await createRun(calling('call', 'wide'));
  const childOf = async () => (await engine.jobs.get(project, { runId, job: 0 })).childRun;
  await expect.poll(childOf, { timeout: 5_000 }).toBeDefined();
  const child = (await childOf()) as RunId;
  const reply = { verdict: 'APPROVE', actor: 'ada', groups: [], comment: '' } as const;
  for (let job = 0; job < count; job++) {
    await engine.jobs.answerGate(project, { runId: child, job }, { ...reply, answers: { text: 'x'.repeat(60_000) } });
  }
  const failure = async () => (await engine.jobs.get(project, { runId, job: 0 })).failure?.message;
  await expect.poll(failure, { timeout: 5_000 }).toMatch(/outputs of its run are 9\d{5} bytes as JSON, at most 393216/);
});
