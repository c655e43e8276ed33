// What may never happen in a ledger, looked for behind a bad network: messages of drivers that are late, repeated, reordered and lost.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decide } from './decide.ts';
import { liveOf } from './run-state.ts';
import type { JobState } from './states.ts';
import { definitions } from './testing/definitions.ts';
import { liveThrough } from './testing/network.ts';
import { randomFrom } from './testing/random-from.ts';
import type { Decide } from './testing/simulated-ledger.ts';

const STEPS = 100_000;
/** How much happens to a run at most. A life that fails is shrunk to the shortest that still does; its seed is printed. */
const lengths = fc.noBias(fc.integer({ min: 1, max: 400 }));

function lives(decideWith?: Decide) {
  return fc.property(definitions, fc.integer(), lengths, (definition, seed, steps) => {
    liveThrough(definition, randomFrom(seed), steps, decideWith);
  });
}

test(`no promise is broken in ${STEPS.toLocaleString('en')} decisions on what a bad network delivers`, {
  timeout: 120_000,
}, () => {
  let decided = 0;
  const reached = new Set<JobState>();
  while (decided < STEPS) {
    fc.assert(
      fc.property(definitions, fc.integer(), lengths, (definition, seed, steps) => {
        const lived = liveThrough(definition, randomFrom(seed), steps);
        decided += lived.decided;
        for (const state of lived.states) reached.add(state);
      }),
      { numRuns: 100 },
    );
  }
  expect(decided).toBeGreaterThanOrEqual(STEPS);
  const everyState = ['BLOCKED', 'WAITING', 'QUEUED', 'OFFERED', 'RUNNING', 'CANCELLING'];
  expect([...reached]).toEqual(expect.arrayContaining([...everyState, 'SUCCEEDED', 'FAILED', 'SKIPPED', 'CANCELLED']));
});

const wrong: Readonly<Record<string, Decide>> = {
  'takes late messages of an attempt that was lost for news of the next one': (slice, command, nowMs) => {
    if (!('attempt' in command)) return decide(slice, command, nowMs);
    const job = slice.jobs.get(command.job);
    return decide(slice, { ...command, attempt: job?.attempt ?? command.attempt }, nowMs);
  },
  'lets whoever speaks go on with an attempt of somebody else': (slice, command, nowMs) => {
    if (!('attempt' in command)) return decide(slice, command, nowMs);
    const job = slice.jobs.get(command.job);
    const instance = (job && liveOf(job)?.instance) ?? command.instance;
    return decide(slice, { ...command, instance }, nowMs);
  },
};

test.each(Object.entries(wrong))('the checkers catch a ledger that %s', (_, decideWrongly) => {
  const { failed, errorInstance } = fc.check(lives(decideWrongly), { numRuns: 1_000, endOnFailure: true });
  expect(failed).toBe(true);
  expect(String(errorInstance)).toMatch(/^(Error: broken:|AssertionError:)/);
});
