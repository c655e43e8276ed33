// What an earlier try of a decision has worked out costs the next one as if it were worked out again.
import { expect, it } from 'vitest';
import { beforeFirstEvent } from './evolve.ts';
import { evaluateJob } from './job-expressions.ts';
import type { JsonObject } from './json.ts';
import { compilePlan, plannedJob } from './plan.ts';
import { FactsNotLoaded, type JobRecord } from './run-state.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';
import { beginWorking, type KnownWork, nothingKnown } from './working.ts';

const plan = compilePlan({
  ...definitionOf(
    jobNamed('made'),
    jobNamed('halted', { needs: ['made'], if: 'env.long != ""', spec: { x: '${{ needs.made.outputs.x }}' } }),
    jobNamed('whole', { if: 'env.long != ""' }),
    jobNamed('same', { if: 'env.long != ""' }),
  ),
  env: { long: '${{ params.list.map(x, x + 1).size() }}' },
});
const made: JobRecord = { attempt: 1, unmet: 0, badNeeds: 0, spent: {}, state: 'SUCCEEDED', finishedMs: 0 };
const list = Array.from({ length: 1_000 }, (_, n) => n);

/** What evaluating jobs in a round costs, in steps. */
function stepsOf(known: KnownWork, outputs: ReadonlyMap<number, JsonObject>, ...jobs: number[]): number {
  const trigger = { kind: 'api', actor: '', reference: '' };
  const facts = { runId: 'run', project: 'default', params: { list }, labels: {}, trigger, outputs };
  const working = beginWorking(known);
  const slice = { ...beforeFirstEvent(plan), jobs: new Map([[0, made]]), facts, working };
  for (const job of jobs) evaluateJob(slice, plannedJob(plan, job));
  return working.steps;
}

it('env is paid for in each round, and once, by whichever job reads it first', () => {
  const outputs = new Map([[0, { x: 1 }]]);
  const all = stepsOf(nothingKnown(), outputs, 1, 2, 3);
  const known = nothingKnown();
  // It has read env when it asks for the outputs.
  expect(() => stepsOf(known, new Map(), 1)).toThrow(FactsNotLoaded);
  expect(known.jobs.size).toBe(0);
  expect(stepsOf(known, outputs, 1, 2)).toBeGreaterThan(2 * list.length);
  expect(stepsOf(known, outputs, 1, 2, 3)).toBe(all);
  expect(stepsOf(known, outputs, 1, 2, 3)).toBe(all);
});
