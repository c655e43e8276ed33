// Owns one build: a command that runs in a container, not in a driver. Its process, its log and its exit code are files, so
// whoever comes after a driver that died finds it running, ended or gone, and it never runs twice at the same time.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Build {
  /** Starts it, unless it runs or has ended already. */
  ensureStarted(): Promise<void>;
  /** Yields what it writes, from byte `offset` on, until it has ended; an abort ends that at once and throws. */
  follow(offset: number, signal: AbortSignal): AsyncGenerator<Uint8Array>;
  /** Its exit code; undefined when it was killed. */
  exitCode(): Promise<number | undefined>;
  /** Sends a signal to its processes. */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Forgets it: the next start is a new build. */
  remove(): Promise<void>;
}

const pollMs = 50;
const chunkBytes = 64 * 1024;

/**
 * Its output closes when the build's process is on file; the exit code is there whole or not at all. It outlives the SIGTERM
 * that its command may answer by cleaning up.
 */
const wrapper = `
trap : TERM
: >"$1/log"
echo $$ >"$1/pid"
exec >>"$1/log" 2>&1
(cd "$2" && eval "$3")
echo $? >"$1/exit.new" && mv "$1/exit.new" "$1/exit"
`;

/** The build of `command` in a container, by the name of what is built. */
export function openBuild(container: string, name: string, command: string): Build {
  const directory = join(container, `build-${name}`);
  const readNumber = async (file: string): Promise<number | undefined> => {
    const text = await readFile(join(directory, file), 'utf8').catch(() => '');
    return text === '' ? undefined : Number(text);
  };
  const exitCode = (): Promise<number | undefined> => readNumber('exit');
  /** Sends a signal to its first process, or to all when `all`; false when it runs no more. */
  const send = async (signal: NodeJS.Signals | 0, all: boolean): Promise<boolean> => {
    const pid = await readNumber('pid');
    try {
      return pid !== undefined && process.kill(all ? -pid : pid, signal);
    } catch {
      return false;
    }
  };
  const isRunning = async (): Promise<boolean> => (await exitCode()) === undefined && (await send(0, false));
  const remove = (): Promise<void> => rm(directory, { recursive: true, force: true });
  return {
    async ensureStarted() {
      // In this order: one that ends in between has left its exit code.
      if ((await send(0, false)) || (await exitCode()) !== undefined) return;
      // What is left of one that was killed counts for nothing.
      await remove();
      await mkdir(directory);
      const child = spawn('sh', ['-c', wrapper, 'sh', directory, container, command], {
        detached: true,
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      await once(child.stdout.resume(), 'close');
      child.unref();
    },
    async *follow(offset, signal) {
      for (let at = offset; ; await sleep(pollMs, undefined, { signal })) {
        signal.throwIfAborted();
        // Asked first, so that nothing is written after the last read.
        const ended = !(await isRunning());
        for await (const bytes of readFrom(join(directory, 'log'), at)) {
          yield bytes;
          at += bytes.length;
        }
        if (ended) return;
      }
    },
    exitCode,
    async kill(signal) {
      await send(signal, true);
    },
    remove,
  };
}

async function* readFrom(path: string, offset: number): AsyncGenerator<Uint8Array> {
  const file = await open(path);
  try {
    for (let at = offset; ; ) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(chunkBytes), 0, chunkBytes, at);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
      at += bytesRead;
    }
  } finally {
    await file.close();
  }
}
