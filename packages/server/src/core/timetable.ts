// When a schedule's occurrences are: cron expressions in a time zone. Pure: whoever asks says from which time on. Where clocks change,
// a time without `*` and steps comes once a day, right after the gap or the first of two times; any other follows the elapsed hours.
import { Cron } from 'croner';
import { addViolation, checkCount, type Found, quote } from './check-fields.ts';
import { LIMITS } from './limits.ts';

/** Times in milliseconds since the Unix epoch, whole seconds. */
export interface Timetable {
  /** The first time after this one; undefined when there is none. */
  next(afterMs: number): number | undefined;
  /** The last time before this one; undefined when there is none. */
  previous(beforeMs: number): number | undefined;
}

export interface ScheduleTiming {
  /** An occurrence is when any of them matches. */
  readonly cron: readonly string[];
  /** Of the IANA database. */
  readonly timeZone: string;
  /** No occurrence before it. */
  readonly startMs?: number;
  /** No occurrence at it or later. */
  readonly endMs?: number;
}

/** Fixes the search for expressions that never match. The Gregorian calendar repeats itself, so any year would do. */
const SOME_TIME_MS = Date.UTC(2000, 0, 1);

/** Compiles expressions that were checked, without start and end. */
export function compileTimetable({ cron, timeZone }: Pick<ScheduleTiming, 'cron' | 'timeZone'>): Timetable {
  const patterns = cron.map((expression) => compile(expression, timeZone));
  return {
    next(afterMs) {
      const times = patterns.flatMap((pattern) => pattern.nextRun(new Date(afterMs))?.getTime() ?? []);
      return times.length === 0 ? undefined : Math.min(...times);
    },
    previous(beforeMs) {
      const times = patterns.flatMap((pattern) => pattern.previousRuns(1, new Date(beforeMs)).map(Number));
      return times.length === 0 ? undefined : Math.max(...times);
    },
  };
}

/** The part of a timetable between the start and the end of its schedule. */
export function withinBounds(timetable: Timetable, { startMs, endMs }: ScheduleTiming): Timetable {
  const from = startMs ?? Number.NEGATIVE_INFINITY;
  const until = endMs ?? Number.POSITIVE_INFINITY;
  const inside = (timeMs: number | undefined): number | undefined =>
    timeMs !== undefined && timeMs >= from && timeMs < until ? timeMs : undefined;
  return {
    next: (afterMs) => inside(timetable.next(Math.max(afterMs, from - 1))),
    previous: (beforeMs) => inside(timetable.previous(Math.min(beforeMs, until))),
  };
}

/** The timetable of a schedule. */
export function timetableOf(timing: ScheduleTiming): Timetable {
  return withinBounds(compileTimetable(timing), timing);
}

/** The timing of a schedule alone. */
export function timingOf({ cron, timeZone, startMs, endMs }: ScheduleTiming): ScheduleTiming {
  return { cron, timeZone, ...(startMs !== undefined && { startMs }), ...(endMs !== undefined && { endMs }) };
}

/** The next `count` times after this one. */
export function nextTimes(timetable: Timetable, afterMs: number, count: number): number[] {
  const times: number[] = [];
  for (let at = timetable.next(afterMs); at !== undefined && times.length < count; at = timetable.next(at))
    times.push(at);
  return times;
}

/** Adds what is wrong with expressions and time zone to `found`, with paths under `field`. */
export function checkTiming(found: Found, field: string, { cron, timeZone, startMs, endMs }: ScheduleTiming): void {
  const max = LIMITS.cronExpressions;
  if (cron.length === 0) addViolation(found, `${field}.cron`, `is required: 1 to ${max} cron expressions`);
  checkCount(found, `${field}.cron`, cron.length, max);
  const zone = isTimeZone(timeZone) ? timeZone : undefined;
  if (zone === undefined) {
    addViolation(
      found,
      `${field}.time_zone`,
      `must be a name of the IANA time zone database, such as Europe/Berlin or UTC; got ${quote(timeZone)}`,
    );
  }
  for (const [index, expression] of cron.slice(0, max).entries()) {
    const problem = expressionProblem(expression, zone ?? 'UTC');
    if (problem !== undefined) addViolation(found, `${field}.cron[${index}]`, problem);
  }
  if (startMs !== undefined && endMs !== undefined && endMs <= startMs) {
    addViolation(found, `${field}.end_time`, `must be after start_time, ${new Date(startMs).toISOString()}`);
  }
}

const CHARACTERS = /^[A-Za-z0-9*,/#?+@ \t-]*$/;
const MAX_EXPRESSION = 128;
const FORM = 'five fields (minute, hour, day of month, month, day of week), or six with seconds before them';

function expressionProblem(expression: string, timeZone: string): string | undefined {
  const text = expression.trim();
  if (text === '') return `is required: a cron expression of ${FORM}`;
  if (expression.length > MAX_EXPRESSION) {
    return `must have at most ${MAX_EXPRESSION} characters; has ${expression.length}`;
  }
  // A date is another thing that the library takes.
  if (!CHARACTERS.test(text)) return `is no cron expression: ${quote(expression)} holds a character that none has`;
  const fields = text.split(/[ \t]+/).length;
  if (!text.startsWith('@') && fields !== 5 && fields !== 6) {
    return `is no cron expression: ${quote(expression)} has ${fields} field${fields === 1 ? '' : 's'}; write ${FORM}`;
  }
  try {
    if (compile(expression, timeZone).nextRun(new Date(SOME_TIME_MS)) !== null) return undefined;
    return `never matches: there is no date like that in ${quote(expression)}`;
  } catch (error) {
    return `is no cron expression: ${messageOf(error)}`;
  }
}

/** What the library says, in a sentence of ours. */
function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const said = message.replace(/^CronPattern: /, '').replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase());
  return said.startsWith('invalid configuration format') ? `its nickname is unknown; write ${FORM}` : said;
}

function isTimeZone(name: string): boolean {
  // Offsets such as +02:00 are taken by Intl, but are no zones: their clocks never change.
  if (!/^[A-Za-z][A-Za-z0-9_+/-]{0,63}$/.test(name)) return false;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

function compile(expression: string, timeZone: string): Cron {
  return new Cron(expression.trim(), { timezone: timeZone, mode: '5-or-6-parts', fixedTimeRule: 'no-wildcard' });
}
