import { describe, expect, test } from 'vitest';
import type { Found } from './check-fields.ts';
import { checkTiming, compileTimetable, nextTimes, type ScheduleTiming, withinBounds } from './timetable.ts';

const at = (iso: string): number => Date.parse(iso);
const iso = (ms: number | undefined): string | undefined =>
  ms === undefined ? undefined : new Date(ms).toISOString().replace('.000Z', 'Z');

/** The times from one to another, forward; and the same ones must come when they are read backward. */
function timesOf(expression: string, timeZone: string, fromIso: string, toIso: string): (string | undefined)[] {
  const timetable = compileTimetable({ cron: [expression], timeZone });
  const times: number[] = [];
  for (let time = timetable.next(at(fromIso) - 1); time !== undefined && time < at(toIso); ) {
    times.push(time);
    time = timetable.next(time);
  }
  const backward: number[] = [];
  for (let time = timetable.previous(at(toIso)); time !== undefined && time >= at(fromIso); ) {
    backward.unshift(time);
    time = timetable.previous(time);
  }
  expect(backward).toEqual(times);
  return times.map(iso);
}

describe('a time that the clocks skip', () => {
  test.each([
    // 02:00 to 03:00 do not exist on 29 March.
    ['Europe/Berlin', '30 2 * * *', '2026-03-29T00:00:00Z', ['2026-03-29T01:00:00Z']],
    ['Europe/Berlin', '0,30 2 * * *', '2026-03-29T00:00:00Z', ['2026-03-29T01:00:00Z']],
    ['Europe/Berlin', '30 2,3 * * *', '2026-03-29T00:00:00Z', ['2026-03-29T01:00:00Z', '2026-03-29T01:30:00Z']],
    ['Europe/Berlin', '0 2,3 * * *', '2026-03-29T00:00:00Z', ['2026-03-29T01:00:00Z']],
    // 02:00 to 03:00 do not exist on 8 March.
    ['America/New_York', '15 2 * * *', '2026-03-08T05:00:00Z', ['2026-03-08T07:00:00Z']],
    // 02:00 to 02:30 do not exist on 4 October.
    ['Australia/Lord_Howe', '15 2 * * *', '2026-10-03T14:00:00Z', ['2026-10-03T15:30:00Z']],
    ['Australia/Lord_Howe', '45 2 * * *', '2026-10-03T14:00:00Z', ['2026-10-03T15:45:00Z']],
  ])('in %s comes right after the gap, and once: %s', (zone, expression, from, due) => {
    const to = iso(at(from) + 12 * 3_600_000)!;
    expect(timesOf(expression, zone, from, to)).toEqual(due);
  });

  test.each([
    [
      'Europe/Berlin',
      '*/30 * * * *',
      '2026-03-29T00:30:00Z',
      '2026-03-29T02:00:00Z',
      ['2026-03-29T00:30:00Z', '2026-03-29T01:00:00Z', '2026-03-29T01:30:00Z'],
    ],
    [
      'America/New_York',
      '15 * * * *',
      '2026-03-08T06:00:00Z',
      '2026-03-08T08:00:00Z',
      ['2026-03-08T06:15:00Z', '2026-03-08T07:15:00Z'],
    ],
    [
      'Australia/Lord_Howe',
      '15 * * * *',
      '2026-10-03T14:30:00Z',
      '2026-10-03T17:00:00Z',
      ['2026-10-03T14:45:00Z', '2026-10-03T16:15:00Z'],
    ],
  ])('in %s does not come when it follows the hours: %s', (zone, expression, from, to, due) => {
    expect(timesOf(expression, zone, from, to)).toEqual(due);
  });
});

describe('a time that the clocks repeat', () => {
  test.each([
    // 02:00 to 03:00 come twice on 25 October.
    ['Europe/Berlin', '30 2 * * *', '2026-10-24T22:00:00Z', ['2026-10-25T00:30:00Z']],
    ['Europe/Berlin', '0,30 2 * * *', '2026-10-24T22:00:00Z', ['2026-10-25T00:00:00Z', '2026-10-25T00:30:00Z']],
    // 01:00 to 02:00 come twice on 1 November.
    ['America/New_York', '30 1 * * *', '2026-11-01T04:00:00Z', ['2026-11-01T05:30:00Z']],
    // 01:30 to 02:00 come twice on 5 April.
    ['Australia/Lord_Howe', '45 1 * * *', '2026-04-04T13:00:00Z', ['2026-04-04T14:45:00Z']],
  ])('in %s comes the first time only: %s', (zone, expression, from, due) => {
    expect(timesOf(expression, zone, from, iso(at(from) + 12 * 3_600_000)!)).toEqual(due);
  });

  test.each([
    [
      'Europe/Berlin',
      '30 * * * *',
      '2026-10-25T00:00:00Z',
      '2026-10-25T03:00:00Z',
      ['2026-10-25T00:30:00Z', '2026-10-25T01:30:00Z', '2026-10-25T02:30:00Z'],
    ],
    [
      'America/New_York',
      '30 * * * *',
      '2026-11-01T05:00:00Z',
      '2026-11-01T08:00:00Z',
      ['2026-11-01T05:30:00Z', '2026-11-01T06:30:00Z', '2026-11-01T07:30:00Z'],
    ],
    [
      'Australia/Lord_Howe',
      '*/15 * * * *',
      '2026-04-04T14:30:00Z',
      '2026-04-04T15:30:00Z',
      ['2026-04-04T14:30:00Z', '2026-04-04T14:45:00Z', '2026-04-04T15:00:00Z', '2026-04-04T15:15:00Z'],
    ],
  ])('in %s comes both times when it follows the hours: %s', (zone, expression, from, to, due) => {
    expect(timesOf(expression, zone, from, to)).toEqual(due);
  });
});

test('several expressions are one timetable, in which a time that both have is there once', () => {
  const timetable = compileTimetable({ cron: ['0 6 * * *', '0 */6 * * *', '*/10 0 5 * * *'], timeZone: 'UTC' });
  expect(nextTimes(timetable, at('2026-01-01T00:00:00Z'), 9).map(iso)).toEqual([
    '2026-01-01T05:00:00Z',
    '2026-01-01T05:00:10Z',
    '2026-01-01T05:00:20Z',
    '2026-01-01T05:00:30Z',
    '2026-01-01T05:00:40Z',
    '2026-01-01T05:00:50Z',
    '2026-01-01T06:00:00Z',
    '2026-01-01T12:00:00Z',
    '2026-01-01T18:00:00Z',
  ]);
});

test('start and end bound a timetable: the start belongs to it, the end does not', () => {
  const timing = {
    startMs: at('2026-01-02T00:00:00Z'),
    endMs: at('2026-01-04T00:00:00Z'),
    cron: ['@daily'],
    timeZone: 'UTC',
  };
  const timetable = withinBounds(compileTimetable(timing), timing);
  expect(nextTimes(timetable, 0, 10).map(iso)).toEqual(['2026-01-02T00:00:00Z', '2026-01-03T00:00:00Z']);
  expect(iso(timetable.previous(at('2027-01-01T00:00:00Z')))).toBe('2026-01-03T00:00:00Z');
  expect(timetable.previous(timing.startMs)).toBeUndefined();
  expect(timetable.next(at('2026-01-03T00:00:00Z'))).toBeUndefined();
});

test('a time between two seconds is after the one and before the other', () => {
  const timetable = compileTimetable({ cron: ['* * * * * *'], timeZone: 'UTC' });
  expect([timetable.next(1_500), timetable.next(2_000), timetable.previous(2_500), timetable.previous(2_000)]).toEqual([
    2_000, 3_000, 2_000, 1_000,
  ]);
});

describe('what is refused', () => {
  function problems(timing: Partial<ScheduleTiming>): { field: string; description: string }[] {
    const found: Found = [];
    checkTiming(found, 'spec', { cron: ['@daily'], timeZone: 'UTC', ...timing });
    return found;
  }

  test.each([
    ['nothing', '', 'is required'],
    ['too few fields', '* * *', 'has 3 fields; write five fields'],
    ['a year', '0 0 0 1 1 * 2030', 'has 7 fields'],
    ['a value out of range', '61 * * * *', 'invalid value for minute: 61'],
    ['a word', '* * * foo *', 'illegal characters'],
    ['a step of nothing', '*/0 * * * *', 'illegal stepping'],
    ['a range that goes back', '5-1 * * * *', 'larger'],
    ['an unknown nickname', '@every 5m', 'its nickname is unknown'],
    ['a start of the machine', '@reboot', 'not supported'],
    ['a date', '2026-01-01T00:00:00Z', 'holds a character'],
    ['a long one', `${'1,'.repeat(64)}2 * * * *`, 'at most 128 characters'],
    ['30 February', '0 0 30 2 *', 'never matches'],
    ['31 of short months', '0 0 31 2,4,6,9,11 *', 'never matches'],
    ['a fifth Monday on a day that is too early', '0 0 1 * +1#5', 'never matches'],
  ])('%s', (_, expression, description) => {
    expect(problems({ cron: ['@daily', expression] })).toEqual([
      { field: 'spec.cron[1]', description: expect.stringContaining(description) },
    ]);
  });

  test.each([
    '0 0 29 2 *',
    '0 0 L * *',
    '0 0 LW * *',
    '0 0 15W * *',
    '0 0 * * FRI#2',
    '0 9-17/2 * JAN-MAR MON-FRI',
    '@hourly',
  ])('not %s', (expression) => expect(problems({ cron: [expression] })).toEqual([]));

  test('what never matches is found out quickly', () => {
    const beganMs = performance.now();
    for (let i = 0; i < 10; i++) problems({ cron: ['0 0 30 2 +1'] });
    expect(performance.now() - beganMs).toBeLessThan(5_000);
  });

  test.each(['Mars/Phobos', '+02:00', '', 'Europe/Berlin; x'])('the time zone %j', (timeZone) => {
    expect(problems({ timeZone })).toEqual([
      { field: 'spec.time_zone', description: expect.stringContaining('IANA time zone database') },
    ]);
  });

  test('no expression, and more than ten', () => {
    expect(problems({ cron: [] })).toMatchObject([{ field: 'spec.cron' }]);
    expect(problems({ cron: Array.from({ length: 11 }, () => '@daily') })).toMatchObject([{ field: 'spec.cron' }]);
  });

  test('an end that is not after the start', () => {
    expect(problems({ startMs: 5_000, endMs: 5_000 })).toMatchObject([{ field: 'spec.end_time' }]);
  });
});
