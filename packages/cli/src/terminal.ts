// Owns what the user sees: results on standard output, everything about them on standard error, and on a terminal one
// status line below both. Waits while the reader of standard output is slow.
import { once } from 'node:events';
import type { Environment } from '@conveyor/client/node';
import pc from 'picocolors';

/** A stream that may be a terminal. */
export type Output = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };

/** Colours, or none. */
export type Colors = ReturnType<typeof pc.createColors>;

/** Where a command writes to. */
export interface Terminal {
  /** Colours for standard output: none unless it is a terminal, or when NO_COLOR is set. */
  readonly colors: Colors;
  /** Writes bytes to standard output as they are. */
  write(bytes: Uint8Array): Promise<void>;
  /** Writes one or more lines to standard output. */
  print(text: string): Promise<void>;
  /** Writes one or more lines to standard error. */
  note(text: string): void;
  /** Shows how far long work is, in one line that the next one replaces; an empty one ends it. Only on a terminal. */
  status(text: string): void;
}

export function createTerminal(stdout: Output, stderr: Output, env: Environment): Terminal {
  let shown = '';
  const clear = () => {
    if (shown !== '') stderr.write('\r\u001B[K');
  };
  const restore = () => {
    if (shown !== '') stderr.write(shown);
  };
  const write = async (bytes: Uint8Array | string) => {
    if (stdout.isTTY) clear();
    const isRoomLeft = stdout.write(bytes);
    if (stdout.isTTY) restore();
    if (!isRoomLeft) await once(stdout, 'drain');
  };
  return {
    colors: pc.createColors(hasColors(stdout, env)),
    write,
    print: (text) => write(`${text}\n`),
    note(text) {
      clear();
      stderr.write(`${text}\n`);
      restore();
    },
    status(text) {
      if (!stderr.isTTY) return;
      clear();
      shown = text.slice(0, (stderr.columns || 80) - 1);
      restore();
    },
  };
}

function hasColors(stdout: Output, env: Environment): boolean {
  if (env['NO_COLOR']) return false;
  return Boolean(env['FORCE_COLOR']) || (stdout.isTTY === true && env['TERM'] !== 'dumb');
}
