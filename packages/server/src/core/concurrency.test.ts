// A job that waits for tokens stands in line again once its place is gone, and is treated there as any that waits.
import { expect, test } from 'vitest';
import { decide } from './decide.ts';
import { beforeFirstEvent } from './evolve.ts';
import { compilePlan } from './plan.ts';
import { jobOf, type RunSlice } from './run-state.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';

const NOW_MS = 1_000;
const trigger = { kind: 'api', actor: '', reference: '' };
const facts = { runId: 'run', project: 'default', params: {}, labels: {}, trigger, outputs: new Map() };
const plan = compilePlan(
  definitionOf(
    jobNamed('deploy', {
      concurrency: { key: 'k', limit: 1, policy: 'REPLACE_PENDING' },
      rateLimits: [{ key: 'r', limit: 1, periodMs: 1_000, cost: 1 }],
    }),
    jobNamed('other'),
  ),
);

function claim(slice: RunSlice, hasRoom: boolean, isReplaced: boolean, allowed: boolean) {
  const place = { hasRoom, isReplaced, mustYield: false, holders: 1, limit: 1 };
  const rate = { allowed, expectedMs: NOW_MS + 10 };
  const { after, events } = decide({ ...slice, facts }, { type: 'ClaimPlace', job: 0, place, rate }, NOW_MS);
  return { after, events, job: jobOf(after, 0) };
}

test.each([
  [false, { state: 'WAITING', wait: { reason: 'CONCURRENCY' } }],
  [true, { state: 'CANCELLED' }],
])('with a newer job in line (%s)', (isReplaced, expected) => {
  const { after: created } = decide({ ...beforeFirstEvent(plan), facts }, { type: 'Create', trigger }, NOW_MS);
  const waiting = claim(created, true, false, false);
  expect(waiting.job).toMatchObject({ state: 'WAITING', wait: { reason: 'RATE' } });
  const late = claim(waiting.after, false, isReplaced, true);
  expect(late.job).toMatchObject(expected);
  expect(claim(late.after, false, isReplaced, true).events).toEqual([]);
});
