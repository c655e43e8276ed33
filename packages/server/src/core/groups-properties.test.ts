// What may never happen in a concurrency group, looked for in many runs that share some: over its limit, a place that is lost, a job that
// waits for ever, a policy that is not followed. Each checker is shown to catch a fault that is there on purpose.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Bound, ConcurrencyPolicy, Definition, JobDefinition, RateLimit } from './definition.ts';
import { DEFAULT_RETRY } from './definition.ts';
import { decide } from './decide.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';
import { randomFrom } from './testing/random-from.ts';
import type { Decide } from './testing/simulated-ledger.ts';
import { type GroupFaults, openGroups } from './testing/simulated-groups.ts';

const FREE_PLACE = { hasRoom: true, isReplaced: false, mustYield: false, holders: 0, limit: 1 };
const STEPS = 100_000;
const RATES: readonly RateLimit[] = [
  { key: 'slow', limit: 3, periodMs: 90, cost: 1 },
  { key: 'fast-${{ params.count }}', limit: '${{ params.count + 3 }}', periodMs: 10, cost: 1 },
];
const LIMITS_OF_GROUPS: readonly Bound[] = [1, 2, 3, '${{ params.count }}'];
const POLICIES: readonly ConcurrencyPolicy[] = ['QUEUE', 'REPLACE_PENDING', 'CANCEL_RUNNING', 'REJECT'];

function randomDefinition(random: () => number): Definition {
  const below = (limit: number): number => Math.floor(random() * limit);
  const job = (index: number): JobDefinition => {
    const key = ['a', 'b', 'at-${{ params.count }}'][below(3)] ?? 'a';
    const policy = random() < 0.5 ? 'QUEUE' : (POLICIES[below(4)] ?? 'QUEUE');
    return jobNamed(`job-${index}`, {
      needs: index > 0 && random() < 0.3 ? ['job-0'] : [],
      when: random() < 0.2 ? 'ALWAYS' : 'SUCCESS',
      retry: {
        ...DEFAULT_RETRY,
        budgets: { ...DEFAULT_RETRY.budgets, WORKLOAD: below(3) },
        initialBackoffMs: below(2) * 20,
      },
      ...(random() < 0.85 && { concurrency: { key, limit: LIMITS_OF_GROUPS[below(4)] ?? 1, policy } }),
      ...(random() < 0.3 && {
        rateLimits: RATES.slice(below(2)).map((rate) => ({ ...rate, cost: 1 + below(3) })),
      }),
      ...(random() < 0.15 && { matrix: { axes: { n: [1, 2] }, ...(random() < 0.5 && { maxParallel: 1 }) } }),
    });
  };
  return definitionOf(...Array.from({ length: 1 + below(3) }, (_, index) => job(index)));
}

function live(seed: number, steps: number, faults?: GroupFaults): number {
  const random = randomFrom(seed);
  const groups = openGroups(random, faults);
  for (let n = 0; n < steps; n++) {
    if (groups.runs.size < 12 && random() < 0.1) groups.create(randomDefinition(random));
    groups.step();
  }
  groups.workOff();
  return groups.decided();
}

const lives = (faults?: GroupFaults) =>
  fc.property(fc.integer(), fc.noBias(fc.integer({ min: 1, max: 300 })), (seed, steps) => {
    live(seed, steps, faults);
  });

test(`groups keep every promise in ${STEPS.toLocaleString('en')} decisions on runs that share them`, {
  timeout: 120_000,
}, () => {
  let decided = 0;
  while (decided < STEPS) {
    const property = fc.property(fc.integer(), fc.noBias(fc.integer({ min: 1, max: 300 })), (seed, steps) => {
      decided += live(seed, steps);
    });
    fc.assert(property, { numRuns: 100 });
  }
  expect(decided).toBeGreaterThanOrEqual(STEPS);
});

describe('the checkers catch a control plane that', () => {
  const blind =
    (change: object): Decide =>
    (slice, command, nowMs) =>
      decide(
        slice,
        command.type === 'ClaimPlace' && command.place !== undefined
          ? { ...command, place: { ...command.place, ...change } }
          : command,
        nowMs,
      );
  const faults: Readonly<Record<string, readonly [promise: RegExp, faults: GroupFaults]>> = {
    'gives places that are not there': [
      /never over its limit/,
      { decideWith: blind({ hasRoom: true, isReplaced: false }) },
    ],
    'gives no place': [/no place is free/, { decideWith: blind({ hasRoom: false, isReplaced: false }) }],
    'does not see newer jobs': [
      /whose turn a newer job takes|not overtaken/,
      { decideWith: blind({ isReplaced: false }) },
    ],
    'takes turns for no reason': [/only a newer job takes a turn/, { decideWith: blind({ isReplaced: true }) }],
    'takes no place away': [/has older ones stopped/, { decideWith: blind({ mustYield: false }) }],
    'takes places away for no reason': [/for a newer job only/, { decideWith: blind({ mustYield: true }) }],
    'reads a group before it has the lock': [/never over its limit/, { readsBeforeLock: true }],
    'forgets whom it has not told': [/no place is free/, { neverPolls: true }],
    'starts a job without a place': [
      /never over its limit/,
      {
        decideWith: (slice, command, nowMs) => {
          const waits = decide(slice, command, nowMs);
          const event = waits.events.find((one) => one.type === 'JobWaiting' && one.reason === 'CONCURRENCY');
          if (event === undefined || !('job' in event)) return waits;
          const starts = decide(
            waits.after,
            { type: 'ClaimPlace', job: event.job, place: FREE_PLACE, rate: undefined },
            nowMs,
          );
          const [events, marks] = [
            [...waits.events, ...starts.events],
            [...waits.marks, ...starts.marks],
          ];
          return { ...waits, events, marks, after: starts.after };
        },
      },
    ],
    'takes no tokens': [
      /a rate is never exceeded/,
      {
        decideWith: (slice, command, nowMs) =>
          decide(
            slice,
            command.type === 'ClaimPlace' && command.rate !== undefined
              ? { ...command, rate: { ...command.rate, allowed: true } }
              : command,
            nowMs,
          ),
      },
    ],
    'gives no tokens': [
      /comes to rest|tokens are there|served in the end/,
      {
        decideWith: (slice, command, nowMs) =>
          decide(
            slice,
            command.type === 'ClaimPlace' && command.rate !== undefined
              ? { ...command, rate: { ...command.rate, allowed: false } }
              : command,
            nowMs,
          ),
      },
    ],
    'acknowledges a claim and forgets it': [
      /no place is free/,
      {
        decideWith: (slice, command, nowMs) =>
          decide(slice, command.type === 'ClaimPlace' ? { type: 'ReleaseBackoff', job: command.job } : command, nowMs),
      },
    ],
  };

  test.each(Object.entries(faults))('%s', (_, [promise, fault]) => {
    const { failed, errorInstance } = fc.check(lives(fault), { seed: 1, numRuns: 500, endOnFailure: true });
    expect(failed).toBe(true);
    expect(String(errorInstance)).toMatch(promise);
  });
});
