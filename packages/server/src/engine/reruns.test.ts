// A rerun runs again what failed and what hangs on it, and is no way around what older replicas do not know.
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Gate } from '../core/definition.ts';
import type { RunId } from '../core/ids.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import type { RunningEngine } from './start-engine.ts';
import { type EngineFixture, openEngineFixture } from './testing/engine-fixture.ts';

const project = 'default';
const trigger = { kind: 'api', actor: '', reference: '' };
const gate: Gate = { message: '', approvers: [], quorum: 1, onTimeout: 'FAIL' };

let fixture: EngineFixture;
let engine: RunningEngine;

beforeAll(async () => {
  fixture = await openEngineFixture();
  ({ engine } = fixture);
});
afterAll(() => fixture[Symbol.asyncDispose]());

async function answer(runId: RunId, job: number, verdict: 'APPROVE' | 'REJECT'): Promise<void> {
  const reply = { verdict, actor: 'ada', groups: [], answers: {}, comment: '' };
  await engine.jobs.answerGate(project, { runId, job }, reply);
}

async function statesOf(runId: RunId, count: number): Promise<string[]> {
  const jobs = Array.from({ length: count }, (_, job) => engine.jobs.get(project, { runId, job }));
  return (await Promise.all(jobs)).map(({ state }) => state);
}

test('what succeeded although its condition skipped a need is not run again for that', async () => {
  const ask = { driver: '', gate };
  const definition = definitionOf(
    jobNamed('optional', { ...ask, if: 'params.wanted' }),
    jobNamed('publish', { ...ask, needs: ['optional'], when: 'ALWAYS' }),
    jobNamed('check', ask),
    jobNamed('after', { ...ask, needs: ['check'] }),
  );
  const { runId } = await engine.runs.create(project, { definition, params: { wanted: false }, labels: {}, trigger });
  await answer(runId, 1, 'APPROVE');
  await answer(runId, 2, 'REJECT');
  expect(await statesOf(runId, 4)).toEqual(['SKIPPED', 'SUCCEEDED', 'FAILED', 'SKIPPED']);
  const again = await engine.runs.rerun(project, runId, 'FAILED', trigger);
  expect(await statesOf(again.runId, 4)).toEqual(['SKIPPED', 'SUCCEEDED', 'WAITING', 'BLOCKED']);

  await fixture.pools.pool.query(
    `insert into replicas (replica, version, started_ms, seen_ms, event_version)
     select 'older', '1.0.0', 0, floor(extract(epoch from clock_timestamp()) * 1000) + 60000, 3`,
  );
  const refusal = () => engine.runs.rerun(project, runId, 'FAILED', trigger).then(String, String);
  await expect.poll(refusal, { timeout: 5_000 }).toMatch(/older version/);
});
