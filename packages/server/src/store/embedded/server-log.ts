// Owns the server's log file and its bound: the current file and one before it, each of at most about 16 MiB.
import { copyFile, readFile, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';

const maxBytes = 16 * 1024 * 1024;
const tailLines = 6;

/** The log of the embedded server, for people who look for the cause of a failure. */
export interface ServerLog {
  readonly path: string;
  /** Moves the content aside once the file is too large. Lines that the server writes at that very moment may be lost. */
  bound(): Promise<void>;
  /** The last lines. */
  tail(): Promise<string>;
}

/** The log in the given directory; the server appends to it, which makes truncating it safe. */
export function openServerLog(directory: string): ServerLog {
  const path = join(directory, 'postgres.log');
  return {
    path,
    async bound() {
      const size = (await stat(path).catch(() => undefined))?.size ?? 0;
      if (size <= maxBytes) return;
      await copyFile(path, `${path}.1`);
      await truncate(path);
    },
    async tail() {
      const content = await readFile(path, 'utf8').catch(() => '');
      return content.trimEnd().split('\n').slice(-tailLines).join('\n');
    },
  };
}
