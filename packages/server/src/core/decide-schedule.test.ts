// What a decision comes to, case by case; that no sequence of them breaks a promise is in schedule-properties.test.ts.
import { describe, expect, test } from 'vitest';
import { decideSchedule, type OpenOccurrence, type ScheduleState } from './decide-schedule.ts';
import type { RunId } from './ids.ts';
import { LIMITS } from './limits.ts';
import type { OccurrenceOrigin, OverlapPolicy, SchedulePolicies } from './schedule.ts';
import { compileTimetable, withinBounds } from './timetable.ts';

const MINUTE = 60_000;
const NOON = Date.UTC(2026, 0, 1, 12);
const hourly = compileTimetable({ cron: ['0 * * * *'], timeZone: 'UTC' });
const minutely = compileTimetable({ cron: ['* * * * *'], timeZone: 'UTC' });

function stateOf(
  change: Partial<Omit<ScheduleState, 'policies'>> & { policies?: Partial<SchedulePolicies> },
): ScheduleState {
  return {
    timetable: hourly,
    paused: false,
    cursorMs: NOON - 1,
    open: [],
    taken: new Set(),
    ...change,
    policies: {
      overlap: 'SKIP',
      missed: 'RUN_ONCE',
      catchUpMs: 24 * 60 * MINUTE,
      maxCatchUp: 10,
      pausedIsMissed: false,
      ...change.policies,
    },
  };
}

const runId = (name: string): RunId => name as RunId;
const started = (name: string, origin: OccurrenceOrigin = 'TIME', cancelling = false): OpenOccurrence => ({
  atMs: NOON - 60 * MINUTE,
  origin,
  state: 'STARTED',
  runId: runId(name),
  cancelling,
});
const queued = (atMs: number, origin: OccurrenceOrigin = 'TIME', parallel = 1): OpenOccurrence => ({
  atMs,
  origin,
  state: 'QUEUED',
  parallel,
});

/** Each outcome as `time state`, with minutes from noon. */
function told(state: ScheduleState, nowMs = NOON): string[] {
  return decideSchedule(state, nowMs).outcomes.map((one) => {
    const { atMs } = one;
    return `${(atMs - NOON) / MINUTE} ${one.state === 'SKIPPED' ? one.skip : one.state}`;
  });
}

describe('an occurrence that has come', () => {
  test('starts, and the next one is when to look again', () => {
    expect(decideSchedule(stateOf({}), NOON)).toEqual({
      cursorMs: NOON,
      outcomes: [{ atMs: NOON, isNew: true, state: 'STARTING' }],
      start: [NOON],
      cancel: [],
      dueMs: NOON + 60 * MINUTE,
    });
  });

  test('is not there a moment before', () => {
    expect(decideSchedule(stateOf({}), NOON - 1)).toMatchObject({ outcomes: [], start: [], dueMs: NOON });
  });

  test('is not decided on twice, also when the clock goes back', () => {
    expect(told(stateOf({ cursorMs: NOON }), NOON - 5_000)).toEqual([]);
    expect(decideSchedule(stateOf({ cursorMs: NOON }), NOON - 5_000).cursorMs).toBe(NOON);
  });

  test('is left to whoever took its time before', () => {
    expect(told(stateOf({ taken: new Set([NOON]) }))).toEqual([]);
  });

  test('waits for the run of an earlier one that is still being created', () => {
    const open: OpenOccurrence[] = [{ atMs: NOON - MINUTE, origin: 'TIME', state: 'STARTING' }];
    expect(decideSchedule(stateOf({ open }), NOON)).toEqual({
      cursorMs: NOON - 1,
      outcomes: [],
      start: [NOON - MINUTE],
      cancel: [],
      dueMs: NOON,
    });
  });

  test('the last one leaves nothing to look for', () => {
    const timing = { cron: ['0 * * * *'], timeZone: 'UTC', endMs: NOON + MINUTE };
    expect(decideSchedule(stateOf({ timetable: withinBounds(hourly, timing) }), NOON).dueMs).toBeUndefined();
  });
});

describe('while a run is open', () => {
  const busy = (overlap: OverlapPolicy, ...open: OpenOccurrence[]) => stateOf({ policies: { overlap }, open });

  test.each<[OverlapPolicy, string]>([
    ['ALLOW', 'STARTING'],
    ['SKIP', 'OVERLAP'],
    ['QUEUE_ONE', 'QUEUED'],
    ['CANCEL_RUNNING', 'QUEUED'],
  ])('%s: %s', (overlap, outcome) => expect(told(busy(overlap, started('r')))).toEqual([`0 ${outcome}`]));

  test('QUEUE_ONE skips what comes while one waits, and looks for the end of the run', () => {
    const state = busy('QUEUE_ONE', started('r'), queued(NOON - MINUTE));
    expect(told(state)).toEqual(['0 OVERLAP']);
    expect(decideSchedule(state, NOON).dueMs).toBe(NOON + 1_000);
  });

  test('QUEUE_ONE starts the one that waits once the run has ended', () => {
    expect(told(busy('QUEUE_ONE', queued(NOON - MINUTE)))).toEqual(['-1 STARTING', '0 QUEUED']);
  });

  test('CANCEL_RUNNING cancels first, looks again at once, and starts when that is under way', () => {
    const first = decideSchedule(busy('CANCEL_RUNNING', started('r')), NOON);
    expect(first).toMatchObject({ cancel: ['r'], start: [], dueMs: NOON });
    const then = decideSchedule(
      stateOf({
        policies: { overlap: 'CANCEL_RUNNING' },
        cursorMs: NOON,
        open: [started('r', 'TIME', true), queued(NOON)],
      }),
      NOON,
    );
    expect(then).toMatchObject({ cancel: [], start: [NOON] });
  });

  test('CANCEL_RUNNING cancels nothing when nothing has come', () => {
    expect(decideSchedule(busy('CANCEL_RUNNING', started('r')), NOON - 1).cancel).toEqual([]);
  });

  test('CANCEL_RUNNING leaves only the newest of those that wait', () => {
    expect(told(busy('CANCEL_RUNNING', queued(NOON - MINUTE)))).toEqual(['-1 SUPERSEDED', '0 STARTING']);
  });

  test('a backfill is in nobody’s way', () => {
    expect(told(busy('SKIP', started('r', 'BACKFILL')))).toEqual(['0 STARTING']);
  });

  test('a trigger by hand is in the way like any other', () => {
    expect(told(busy('SKIP', started('r', 'TRIGGER')))).toEqual(['0 OVERLAP']);
  });

  test('ALLOW has an end where too many are open', () => {
    const open = Array.from({ length: LIMITS.openOccurrences }, (_, i) => started(`r-${i}`));
    expect(told(busy('ALLOW', ...open))).toEqual(['0 LIMIT']);
    expect(told(busy('ALLOW', ...open.slice(1)))).toEqual(['0 STARTING']);
  });
});

describe('after a time without any server', () => {
  /** From 07:30 to 12:00:30: four are missed, and noon is not. */
  const missing = (policies: Partial<SchedulePolicies>) =>
    stateOf({ cursorMs: NOON - 270 * MINUTE, policies: { overlap: 'ALLOW', ...policies } });
  const nowMs = NOON + 30_000;

  test('SKIP skips what was missed and not what is only late', () => {
    expect(told(missing({ missed: 'SKIP' }), nowMs)).toEqual([
      '-240 MISSED',
      '-180 MISSED',
      '-120 MISSED',
      '-60 MISSED',
      '0 STARTING',
    ]);
  });

  test('RUN_ONCE runs the newest', () => {
    expect(told(missing({ missed: 'RUN_ONCE' }), nowMs)).toEqual([
      '-240 MISSED',
      '-180 MISSED',
      '-120 MISSED',
      '-60 STARTING',
      '0 STARTING',
    ]);
  });

  test('RUN_ALL runs all, oldest first', () => {
    expect(decideSchedule(missing({ missed: 'RUN_ALL' }), nowMs).start).toEqual(
      [-240, -180, -120, -60, 0].map((minutes) => NOON + minutes * MINUTE),
    );
  });

  test('RUN_ALL runs at most so many, and nothing that is too old', () => {
    expect(told(missing({ missed: 'RUN_ALL', maxCatchUp: 2 }), nowMs).slice(0, 3)).toEqual([
      '-240 MISSED',
      '-180 MISSED',
      '-120 STARTING',
    ]);
    const window = { catchUpMs: 121 * MINUTE };
    expect(told(missing({ missed: 'RUN_ALL', ...window }), nowMs)[2]).toBe('-120 STARTING');
    expect(told(missing({ missed: 'RUN_ALL', ...window }), nowMs)[1]).toBe('-180 MISSED');
  });

  test('the overlap policy holds for what is run late', () => {
    expect(told(missing({ missed: 'RUN_ALL', overlap: 'SKIP' }), nowMs)).toEqual([
      '-240 STARTING',
      '-180 OVERLAP',
      '-120 OVERLAP',
      '-60 OVERLAP',
      '0 OVERLAP',
    ]);
    expect(told(missing({ missed: 'RUN_ALL', overlap: 'CANCEL_RUNNING' }), nowMs).at(-1)).toBe('0 STARTING');
  });

  test('of years only the newest are recorded', () => {
    const state = stateOf({ timetable: minutely, cursorMs: 0, policies: { missed: 'SKIP' } });
    const outcomes = told(state);
    expect(outcomes.filter((one) => one.endsWith('MISSED'))).toHaveLength(LIMITS.catchUp);
    expect(outcomes.at(-1)).toBe('0 STARTING');
  });
});

describe('a pause', () => {
  test('lets nothing come, and nothing that came before start', () => {
    const state = stateOf({ paused: true, open: [queued(NOON - MINUTE)] });
    expect(decideSchedule(state, NOON)).toEqual({
      cursorMs: NOON - 1,
      outcomes: [],
      start: [],
      cancel: [],
      dueMs: undefined,
    });
  });

  test.each<OccurrenceOrigin>(['TRIGGER', 'BACKFILL'])('does not hold back a %s', (origin) => {
    expect(told(stateOf({ paused: true, open: [queued(NOON, origin)] }))).toEqual(['0 STARTING']);
  });
});

describe('backfills', () => {
  const three = [1, 2, 3].map((n) => queued(NOON - n * MINUTE, 'BACKFILL', 2));

  test('start oldest first, as many at a time as was asked for', () => {
    const quiet = stateOf({ cursorMs: NOON, open: three });
    expect(told(quiet)).toEqual(['-3 STARTING', '-2 STARTING']);
    expect(decideSchedule(quiet, NOON).dueMs).toBe(NOON + 1_000);
  });

  test('wait while so many are open', () => {
    expect(told(stateOf({ cursorMs: NOON, open: [...three, started('a', 'BACKFILL')] }))).toEqual(['-3 STARTING']);
    const full = [...three, started('a', 'BACKFILL'), started('b', 'BACKFILL')];
    expect(told(stateOf({ cursorMs: NOON, open: full }))).toEqual([]);
  });
});
