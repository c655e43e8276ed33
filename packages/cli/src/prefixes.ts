// Owns the names of jobs before lines about them: aligned, and each in a colour of its own.
import type { Colors } from './terminal.ts';
import { printable } from './text.ts';

/** What comes before a line. */
export interface Prefixes {
  /** The name of a job, or nothing for the whole run, and a mark that says what kind of line it is. */
  of(jobName: string, mark: string): string;
}

/** Longer names are not aligned. */
const maxWidth = 24;

export function createPrefixes(colors: Colors, jobNames: readonly string[]): Prefixes {
  const width = Math.min(maxWidth, Math.max(0, ...jobNames.map((name) => name.length)));
  const palette = [colors.cyan, colors.magenta, colors.blue, colors.yellow, colors.green];
  const paints = new Map(jobNames.map((name, index) => [name, palette[index % palette.length] ?? String] as const));
  return {
    of(jobName, mark) {
      const paint = paints.get(jobName) ?? String;
      return `${paint(printable(jobName).padEnd(width))} ${colors.dim(mark)} `;
    },
  };
}
