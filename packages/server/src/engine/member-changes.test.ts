// Which limits somebody has to look at when a job begins to wait for them, and when it leaves their line.
import { expect, test } from 'vitest';
import type { Command } from '../core/commands.ts';
import { decide } from '../core/decide.ts';
import { beforeFirstEvent } from '../core/evolve.ts';
import type { RunId } from '../core/ids.ts';
import { compilePlan } from '../core/plan.ts';
import { jobOf, type RunSlice } from '../core/run-state.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { startChange, startsChanged } from './member-changes.ts';

const NOW_MS = 1_000;
const project = 'default';
const trigger = { kind: 'api', actor: '', reference: '' };
const rate = { limit: 1, periodMs: 1_000, cost: 1 };
const plan = compilePlan(
  definitionOf(
    jobNamed('deploy', {
      rateLimits: [
        { key: 'r', ...rate },
        { key: 's', ...rate },
      ],
    }),
  ),
);
const context = {
  runId: 'run' as RunId,
  project,
  pipeline: undefined,
  params: {},
  traceparent: '',
  caller: undefined,
  plan,
};
const facts = { runId: 'run', project, params: {}, labels: {}, trigger, outputs: new Map() };

const apply = (slice: RunSlice, command: Command): RunSlice => decide({ ...slice, facts }, command, NOW_MS).after;
const created = apply(beforeFirstEvent(plan), { type: 'Create', trigger });
const claim = (allowed: boolean): Command => {
  const place = { hasRoom: true, isReplaced: false, mustYield: false, holders: 0, limit: 1 };
  return { type: 'ClaimPlace', job: 0, place, rate: { allowed, expectedMs: NOW_MS + 10 } };
};

test.each<[string, Command, readonly string[]]>([
  ['is told how long it waits', claim(false), ['r', 's']],
  ['takes its tokens', claim(true), []],
  ['is cancelled', { type: 'CancelRun', reason: 'over', force: true }, ['r', 's']],
  ['is held', { type: 'HoldJob', job: 0, reason: 'not yet', actor: '' }, ['r', 's']],
])('a job that waits for tokens %s', (_, command, expected) => {
  const before = jobOf(created, 0);
  expect(before).toMatchObject({ state: 'WAITING', wait: { reason: 'RATE' } });
  const change = startChange(context, 0, before, jobOf(apply(created, command), 0));
  expect(change).toBeDefined();
  expect(startsChanged(change === undefined ? [] : [change]).rates).toEqual(expected.map((key) => ({ project, key })));
});
