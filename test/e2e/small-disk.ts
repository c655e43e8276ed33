// Owns a disk that is small enough to be filled: a file system in memory, for which this machine must let us mount one.
import { execFile } from 'node:child_process';
import { mkdtemp, open, rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const PIECE = Buffer.alloc(1_048_576);

export interface SmallDisk extends AsyncDisposable {
  readonly directory: string;
  /** Takes every byte that is left. Returns how many there were. */
  fill(): Promise<number>;
  /** Gives them back. */
  free(): Promise<void>;
}

/** Returns why there is none where mounting is not allowed. Whoever disposes it has closed what is on it. */
export async function mountSmallDisk(mebibytes: number): Promise<SmallDisk | string> {
  const directory = await mkdtemp(join(tmpdir(), 'conveyor-small-disk-'));
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=0755`, 'tmpfs', directory]);
  } catch (error) {
    await rmdir(directory);
    return `a disk cannot be mounted here: ${error instanceof Error ? error.message.trim() : String(error)}`;
  }
  const ballast = join(directory, 'ballast');
  return {
    directory,
    async fill() {
      const file = await open(ballast, 'a');
      try {
        // The last pages go one by one: what is left is less than a page of anything.
        for (const piece of [PIECE, PIECE.subarray(0, 4_096)]) {
          let hasRoom = true;
          while (hasRoom) hasRoom = (await file.write(piece).catch(fullDisk)).bytesWritten === piece.length;
        }
        return (await file.stat()).size;
      } finally {
        await file.close();
      }
    },
    free: () => rm(ballast, { force: true }),
    async [Symbol.asyncDispose]() {
      await run('umount', [directory]);
      await rmdir(directory);
    },
  };
}

function fullDisk(error: NodeJS.ErrnoException): { readonly bytesWritten: number } {
  if (error.code !== 'ENOSPC') throw error;
  return { bytesWritten: 0 };
}
