// Owns how values are shown to people: columns, times, sizes, states. What users and drivers wrote is stripped of control
// characters, so that no name or message moves the cursor, and of those that turn the direction of what is around them.
import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import { type Run, RunState } from '@conveyor/client';
import type { Colors } from './terminal.ts';

/** A cell: text, perhaps coloured. */
export type Cell = string | { readonly text: string; readonly paint: (text: string) => string };

/** Aligned columns under a header, two spaces apart. */
export function table(header: readonly string[], rows: readonly (readonly Cell[])[]): string {
  return align([header, ...rows]);
}

/** Aligned names and values; those without a value are left out. */
export function fields(values: readonly (readonly [name: string, value: Cell])[]): string {
  return align(values.filter(([, value]) => textOf(value) !== '').map(([name, value]) => [`${name}:`, value]));
}

function align(rows: readonly (readonly Cell[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, textOf(cell).length);
  }
  return rows.map((row) => alignRow(row, widths)).join('\n');
}

function alignRow(row: readonly Cell[], widths: readonly number[]): string {
  const cells = row.map((cell, column) => {
    const text = textOf(cell);
    const painted = typeof cell === 'string' ? text : cell.paint(text);
    return painted + ' '.repeat((widths[column] ?? 0) - text.length);
  });
  return cells.join('  ').trimEnd();
}

function textOf(cell: Cell): string {
  return printable(typeof cell === 'string' ? cell : cell.text);
}

/** The text on one line, without control characters, those of bidirectional text included. */
export function printable(text: string): string {
  return text
    .replaceAll(/\p{Bidi_Control}/gu, '')
    .replaceAll(/\p{Cc}+/gu, ' ')
    .trim();
}

/** The text on one line, cut where it is long. */
export function clipped(text: string, length: number): string {
  const line = printable(text);
  return line.length <= length ? line : `${line.slice(0, length - 1).trimEnd()}…`;
}

/** A word as a shell takes it: that of a cell has brackets, which some would look for files by. */
export function shellWord(word: string): string {
  return /^[\w./:@,+-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** How many there are of each, most first, such as `10 succeeded, 2 failed`. */
export function tally(words: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return Array.from(counts)
    .toSorted(([, a], [, b]) => b - a)
    .map(([word, count]) => `${count} ${word}`)
    .join(', ');
}

/** The name of an enum's value in lower case, such as `timed out`; its number when a newer server sent it. */
export function enumName(names: Readonly<Record<number, string>>, value: number): string {
  return (names[value] ?? String(value)).toLowerCase().replaceAll('_', ' ');
}

/** A state, coloured by what it means. */
export function stateCell(
  name: string,
  colors: Colors,
): { readonly text: string; readonly paint: (text: string) => string } {
  return { text: name, paint: statePaint(name, colors) };
}

function statePaint(name: string, colors: Colors): (text: string) => string {
  if (['succeeded', 'ready', 'sealed'].includes(name)) return colors.green;
  if (['failed', 'timed out', 'lost', 'rejected', 'corrupt'].includes(name)) return colors.red;
  if (['cancelled', 'cancelling', 'skipped', 'expired', 'draining', 'gone', 'truncated'].includes(name)) {
    return colors.yellow;
  }
  if (name.endsWith(', paused')) return colors.yellow;
  return colors.cyan;
}

/** The state of a run, and whether it is paused. */
export function runState({ state, pause }: Run): string {
  return `${enumName(RunState, state)}${pause === undefined ? '' : ', paused'}`;
}

/** How long something took, or takes until `untilMs`, by default now; empty when it has not begun. */
export function elapsed(start: Timestamp | undefined, finish: Timestamp | undefined, untilMs = Date.now()): string {
  if (start === undefined) return '';
  return duration((finish === undefined ? untilMs : timestampMs(finish)) - timestampMs(start));
}

/** How long ago something was; empty when it never was. */
export function age(when: Timestamp | undefined): string {
  return elapsed(when, undefined);
}

/** A duration by its two largest units. */
export function duration(ms: number): string {
  const tenths = Math.round(Math.max(0, ms) / 100);
  if (tenths < 600) return `${(tenths / 10).toFixed(1)}s`;
  const whole = Math.round(tenths / 10);
  if (whole < 3_600) return `${Math.floor(whole / 60)}m${whole % 60}s`;
  if (whole < 86_400) return `${Math.floor(whole / 3_600)}h${Math.floor((whole % 3_600) / 60)}m`;
  return `${Math.floor(whole / 86_400)}d${Math.floor((whole % 86_400) / 3_600)}h`;
}

/** A point in time, to the second, in UTC. */
export function time(timestamp: Timestamp | undefined): string {
  return timestamp === undefined
    ? ''
    : `${new Date(timestampMs(timestamp)).toISOString().slice(0, 19).replace('T', ' ')}Z`;
}

/** How times are written. */
export const TIME_PATTERN = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d))?$/;

/** Reads a time: a date, which is its midnight in UTC, or date and time with their zone; undefined when the text is neither. */
export function parseTime(text: string): Date | undefined {
  // Without a zone it would be read in the one of this machine.
  if (!TIME_PATTERN.test(text)) return undefined;
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

/** Labels as `key=value`, sorted. */
export function labels(map: Readonly<Record<string, string>>): string {
  return Object.entries(map)
    .map(([key, value]) => `${key}=${value}`)
    .toSorted()
    .join(',');
}

/** How the jobs of a run stand, such as `5 succeeded, 1 skipped`. */
export function countsText({ jobCounts }: Run): string {
  if (jobCounts === undefined) return '';
  const { open, succeeded, failed, failureAllowed, skipped, cancelled } = jobCounts;
  const counts = Object.entries({ open, succeeded, failed, 'allowed to fail': failureAllowed, skipped, cancelled });
  return counts.flatMap(([name, count]) => (count === 0 ? [] : `${count} ${name}`)).join(', ');
}

/** A number of bytes. */
export function bytes(count: bigint): string {
  if (count < 1024n) return `${count} B`;
  const kib = Number(count) / 1024;
  return kib < 1024 ? `${kib.toFixed(1)} KiB` : `${(kib / 1024).toFixed(1)} MiB`;
}
