// Owns the names of jobs before lines about them: aligned, and each in a colour of its own.
import type { Colors } from './terminal.ts';
import { printable } from './text.ts';

/** What comes before a line. */
export interface Prefixes {
  /** Aligns and colours further names from now on, such as those of cells. */
  add(jobNames: readonly string[]): void;
  /** The name of a job, or nothing for the whole run, and a mark that says what kind of line it is. */
  of(jobName: string, mark: string): string;
}

/** Longer names are not aligned. */
const maxWidth = 24;

export function createPrefixes(colors: Colors, jobNames: readonly string[]): Prefixes {
  const palette = [colors.cyan, colors.magenta, colors.blue, colors.yellow, colors.green];
  const paints = new Map<string, (text: string) => string>();
  let width = 0;
  const add = (names: readonly string[]) => {
    for (const name of names) {
      width = Math.max(width, Math.min(maxWidth, name.length));
      paints.set(name, palette[paints.size % palette.length] ?? String);
    }
  };
  add(jobNames);
  return {
    add,
    of(jobName, mark) {
      const paint = paints.get(jobName) ?? String;
      return `${paint(printable(jobName).padEnd(width))} ${colors.dim(mark)} `;
    },
  };
}
