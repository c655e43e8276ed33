// What may never happen to occurrences, looked for with arbitrary histories of three workers that crash, freeze and overtake each other,
// of runs that end or do not, pauses, triggers, backfills and times without any server. Each checker is shown to catch a fault.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decideSchedule, LATE_MS } from './decide-schedule.ts';
import { LIMITS } from './limits.ts';
import type { SchedulePolicies } from './schedule.ts';
import { claim } from './testing/run-invariants.ts';
import {
  act,
  backfill,
  crash,
  look,
  openRuns,
  openScheduler,
  pause,
  PERIOD_MS,
  resume,
  type SimulatedDecision,
  type SimulatedFaults,
  type SimulatedScheduler,
  trigger,
} from './testing/simulated-scheduler.ts';

const policies: fc.Arbitrary<SchedulePolicies> = fc.record({
  overlap: fc.constantFrom('ALLOW', 'SKIP', 'QUEUE_ONE', 'CANCEL_RUNNING'),
  missed: fc.constantFrom('SKIP', 'RUN_ONCE', 'RUN_ALL'),
  catchUpMs: fc.constantFrom(3 * PERIOD_MS, 100 * PERIOD_MS),
  maxCatchUp: fc.constantFrom(1, 3, 100),
  pausedIsMissed: fc.boolean(),
});

interface RandomStep {
  readonly kind:
    | 'look'
    | 'act'
    | 'pass'
    | 'crash'
    | 'finish'
    | 'trigger'
    | 'backfill'
    | 'pause'
    | 'resume'
    | 'break'
    | 'mend';
  readonly worker: number;
  readonly amount: number;
}

const KINDS: Readonly<Record<RandomStep['kind'], number>> = {
  act: 12,
  look: 8,
  pass: 8,
  finish: 4,
  crash: 2,
  trigger: 1,
  backfill: 1,
  pause: 1,
  resume: 2,
  break: 1,
  mend: 2,
};

const MAX_PARALLEL = 3;

const steps: fc.Arbitrary<RandomStep[]> = fc.array(
  fc.record({
    kind: fc.oneof(
      ...Object.entries(KINDS).map(([kind, weight]) => ({
        weight,
        arbitrary: fc.constant(kind as RandomStep['kind']),
      })),
    ),
    worker: fc.nat(2),
    amount: fc.nat(99),
  }),
  { maxLength: 200, size: 'max' },
);

/** How long passes in a step: mostly less than a period, sometimes as long as an outage. */
function passed(amount: number): number {
  if (amount < 80) return amount * 250;
  return amount < 95 ? amount * PERIOD_MS * 0.05 : amount * PERIOD_MS * 3;
}

function take(world: SimulatedScheduler, { kind, worker, amount }: RandomStep): void {
  switch (kind) {
    case 'look':
      return look(world, worker);
    case 'act':
      return act(world, worker);
    case 'pass':
      world.nowMs += passed(amount);
      return;
    case 'crash':
      return crash(world, worker);
    case 'finish': {
      const open = world.runs.filter(({ state }) => state !== 'FINISHED');
      const run = open[amount % open.length];
      if (run !== undefined) run.state = 'FINISHED';
      return;
    }
    case 'trigger':
      return trigger(world);
    case 'backfill':
      return backfill(world, 1 + (amount % 12), 1 + (amount % MAX_PARALLEL));
    case 'pause':
      return pause(world);
    case 'resume':
      return resume(world);
    case 'break':
      world.creatable = false;
      return;
    case 'mend':
      world.creatable = true;
  }
}

/** Fails unless runs and occurrences belong together, and the policies hold at this moment. */
function checkWorld(world: SimulatedScheduler): void {
  const runs = Map.groupBy(world.runs, ({ atMs }) => atMs);
  for (const [atMs, made] of runs) {
    claim(made.length === 1, `an occurrence makes one run; ${atMs} made ${made.length}`);
    const state = world.occurrences.get(atMs)?.state;
    claim(state === 'STARTED' || state === 'STARTING', `an occurrence that made a run is not ${state}`);
  }
  for (const one of world.occurrences.values()) {
    claim(one.state !== 'STARTED' || runs.get(one.atMs)?.[0]?.runId === one.runId, 'what has started has its run');
    claim(one.origin === 'TRIGGER' || one.atMs <= world.nowMs, 'nothing comes before its time');
    claim((one.state === 'SKIPPED') === (one.skip !== undefined), 'what was skipped says why');
  }
  const open = openRuns(world);
  const { overlap } = world.policies;
  if (overlap === 'SKIP' || overlap === 'QUEUE_ONE') claim(open.length <= 1, 'runs do not overlap');
  if (overlap === 'CANCEL_RUNNING') {
    claim(
      open.filter(({ state }) => state === 'RUNNING').length <= 1,
      'a run begins after the cancel of the one before',
    );
  }
  const backfills = world.runs.filter(({ state, origin }) => state !== 'FINISHED' && origin === 'BACKFILL');
  claim(backfills.length <= MAX_PARALLEL, 'backfills run at most so many at a time');
}

/** Fails unless a decision records every time that has come, and treats what was missed as the policy says. */
function checkDecision({ state, nowMs, decision }: SimulatedDecision): void {
  if (decision.outcomes.length === 0 && state.open.some((one) => one.state === 'STARTING')) return;
  const fresh = new Map(decision.outcomes.filter(({ isNew }) => isNew).map((one) => [one.atMs, one]));
  claim(!state.paused || fresh.size === 0, 'a pause lets nothing come');
  if (state.paused) return;
  const times: number[] = [];
  for (let at = Math.ceil((state.cursorMs + 1) / PERIOD_MS) * PERIOD_MS; at <= nowMs; at += PERIOD_MS) {
    if (!state.taken.has(at)) times.push(at);
  }
  const missed = times.filter((at) => at <= nowMs - LATE_MS).slice(-LIMITS.catchUp);
  const due = [...missed, ...times.filter((at) => at > nowMs - LATE_MS)];
  expect(
    [...fresh.keys()].toSorted((a, b) => a - b),
    'each time that has come is decided on',
  ).toEqual(due);
  const { missed: policy, catchUpMs, maxCatchUp } = state.policies;
  const inWindow = missed.filter((at) => at >= nowMs - catchUpMs);
  const most = { SKIP: 0, RUN_ONCE: 1, RUN_ALL: maxCatchUp }[policy];
  const caughtUp = most === 0 ? [] : inWindow.slice(-most);
  for (const at of due) {
    const one = fresh.get(at);
    const isMissed = one?.state === 'SKIPPED' && one.skip === 'MISSED';
    claim(isMissed === (missed.includes(at) && !caughtUp.includes(at)), `${policy} of what was missed`);
  }
  const waits = state.policies.overlap === 'ALLOW' && due.some((at) => fresh.get(at)?.state === 'QUEUED');
  claim(!waits, 'where overlap is allowed nobody waits');
}

function live(policy: SchedulePolicies, history: readonly RandomStep[], faults?: SimulatedFaults): SimulatedScheduler {
  const world = openScheduler(policy, faults);
  for (const step of history) {
    const decisions = world.decisions.length;
    take(world, step);
    for (const one of world.decisions.slice(decisions)) checkDecision(one);
    checkWorld(world);
  }
  return world;
}

/** Everybody works, and every run ends, until nothing is left to do. */
function settle(world: SimulatedScheduler): void {
  world.creatable = true;
  if (world.paused) resume(world);
  for (let turn = 0; turn < 4_000; turn++) {
    look(world, 0);
    while ((world.workers[0]?.length ?? 0) > 0) act(world, 0);
    checkWorld(world);
    const unsettled = [...world.occurrences.values()].some(({ state }) => state === 'QUEUED' || state === 'STARTING');
    if (!unsettled && world.dueMs !== undefined && world.dueMs > world.nowMs) return;
    for (const run of world.runs) run.state = 'FINISHED';
    world.nowMs += 500;
  }
  throw new Error('the schedule does not come to rest');
}

test('each occurrence makes one run or says why not, and the policies hold, whoever crashes', () => {
  let taken = 0;
  fc.assert(
    fc.property(policies, steps, (policy, history) => {
      taken += history.length;
      live(policy, history);
    }),
    { numRuns: 1_500 },
  );
  expect(taken).toBeGreaterThan(100_000);
});

test('a schedule comes to rest once its runs end: nothing waits for ever and nothing stays half made', () => {
  fc.assert(
    fc.property(policies, steps, (policy, history) => settle(live(policy, history))),
    { numRuns: 300 },
  );
});

describe('the checkers catch a scheduler that', () => {
  const faults: Readonly<Record<string, SimulatedFaults>> = {
    'makes a run for each try': { forgetsRequestIds: true },
    'records a failure and lets the run come later': { leavesFailureOpen: true },
    'goes on while a run is being made': {
      decide: (state, nowMs) =>
        decideSchedule({ ...state, open: state.open.filter((one) => one.state !== 'STARTING') }, nowMs),
    },
    'does not look at open runs': {
      decide: (state, nowMs) =>
        decideSchedule({ ...state, open: state.open.filter((one) => one.state !== 'STARTED') }, nowMs),
    },
    'starts before the cancel': {
      decide: (state, nowMs) => {
        const open = state.open.map((one) => (one.state === 'STARTED' ? { ...one, cancelling: true } : one));
        return decideSchedule({ ...state, open }, nowMs);
      },
    },
    'runs everything that was missed': {
      decide: (state, nowMs) =>
        decideSchedule({ ...state, policies: { ...state.policies, missed: 'RUN_ALL', maxCatchUp: 100 } }, nowMs),
    },
    'forgets a time that has come': {
      decide: (state, nowMs) => {
        const decision = decideSchedule(state, nowMs);
        return { ...decision, outcomes: decision.outcomes.slice(1) };
      },
    },
    'ignores a pause': { decide: (state, nowMs) => decideSchedule({ ...state, paused: false }, nowMs) },
  };

  test.each(Object.entries(faults))('%s', (_, fault) => {
    const property = fc.property(policies, steps, (policy, history) => void live(policy, history, fault));
    const { failed, errorInstance } = fc.check(property, { numRuns: 1_000, endOnFailure: true });
    expect(failed).toBe(true);
    expect(String(errorInstance)).toMatch(/^(Error: broken:|AssertionError:)/);
  });
});
