import { expect, test } from 'vitest';
import type { RunId } from '../core/ids.ts';
import { compilePlan } from '../core/plan.ts';
import type { JobRecord } from '../core/run-state.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { createRunCache } from './run-cache.ts';

const plan = compilePlan(definitionOf(jobNamed('job')));
const contextOf = (run: string) => ({
  runId: run as RunId,
  project: 'default',
  pipeline: undefined,
  params: {},
  traceparent: '',
  caller: undefined,
  plan,
});
const counts = { total: 1, open: 1, succeeded: 0, failed: 0, failureAllowed: 0, skipped: 0, cancelled: 0 };
const headerAt = (seq: number) => ({ state: 'RUNNING', seq, lastMs: 0, counts }) as const;
const jobWith = (bytes: number): JobRecord => ({
  attempt: 0,
  unmet: 0,
  badNeeds: 0,
  spent: {},
  state: 'QUEUED',
  details: { spec: { text: 'x'.repeat(bytes) } },
});

test('runs are forgotten by what their jobs take, the oldest first', () => {
  const cache = createRunCache();
  for (let run = 0; run < 1_000; run++) {
    cache.keep(contextOf(`run${run}`), undefined, headerAt(1), [[0, jobWith(64_000)]]);
  }
  const kept = Array.from({ length: 1_000 }, (_, run) => cache.find(`run${run}` as RunId, 1) !== undefined);
  expect(kept.filter(Boolean).length).toBeGreaterThan(500);
  expect(kept.filter(Boolean).length).toBeLessThan(850);
  expect(kept.at(-1)).toBe(true);
  expect(kept[0]).toBe(false);
});

test('a job that is written again counts once', () => {
  const cache = createRunCache();
  cache.keep(contextOf('run'), undefined, headerAt(1), [[0, jobWith(64_000)]]);
  for (let seq = 1; seq < 2_000; seq++) {
    cache.keep(contextOf('run'), headerAt(seq), headerAt(seq + 1), [[0, jobWith(64_000)]]);
  }
  expect(cache.find('run' as RunId, 2_000)).toBeDefined();
});
