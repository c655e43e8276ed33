// Owns one program and all that it starts, as a process group. The group ends with its first process, when it is stopped, and
// when this process dies: it never outlives the attempt that it works for.
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';

/** What to run, and how to stop it. */
export interface ProcessGroupOptions {
  /** The program and its arguments. */
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  /** Sends SIGTERM to the group when it aborts. */
  readonly signal: AbortSignal;
  /** Sends SIGKILL to the group when it aborts. */
  readonly killed: AbortSignal;
  /** Takes what the group writes; the next bytes are read when it has resolved. */
  readonly write: (bytes: Uint8Array, channel: 'stdout' | 'stderr') => Promise<void>;
}

/** How the first process ended. */
export type ProcessEnd = { readonly exitCode: number } | { readonly signal: NodeJS.Signals };

/** How long a pipe may be silent, after the group has ended, before whoever holds it open is not waited for. */
const silenceMs = 500;

/**
 * Waits for the end of a pipe that only this process holds open, then kills the whole group: so it ends with this process,
 * however that ends. The program itself runs in place of the shell that starts the watch.
 */
const lifeline = '{ trap "" TERM; read -r _ <&3; kill -KILL 0; } >/dev/null 2>&1 & exec 3<&-; exec "$@"';

/** Runs a program to its end. Rejects when it cannot be started. */
export async function runProcessGroup(options: ProcessGroupOptions): Promise<ProcessEnd> {
  const { command, cwd, env, signal, killed, write } = options;
  signal.throwIfAborted();
  const child = spawn('/bin/sh', ['-c', lifeline, 'lifeline', ...command], {
    cwd,
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  }) as ChildProcessByStdio<null, Readable, Readable>;
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  const terminate = (): void => signalGroup(child.pid, 'SIGTERM');
  const kill = (): void => signalGroup(child.pid, 'SIGKILL');
  signal.addEventListener('abort', terminate);
  killed.addEventListener('abort', kill);
  const pipes = [
    forward(child.stdout, (bytes) => write(bytes, 'stdout')),
    forward(child.stderr, (bytes) => write(bytes, 'stderr')),
  ];
  try {
    const [exitCode, exitSignal] = await exited;
    // Whatever it left in the background.
    kill();
    for (const pipe of pipes) pipe.endWhenSilent();
    await Promise.all(pipes.map(({ ended }) => ended));
    return exitSignal === null ? { exitCode: exitCode ?? 0 } : { signal: exitSignal };
  } finally {
    signal.removeEventListener('abort', terminate);
    killed.removeEventListener('abort', kill);
  }
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // The group has ended.
  }
}

interface Pipe {
  readonly ended: Promise<void>;
  /** No process of the group is left: what it wrote is read, but one that left the group is not waited for. */
  endWhenSilent(): void;
}

function forward(source: Readable, write: (bytes: Uint8Array) => Promise<void>): Pipe {
  let readAtMs = 0;
  let writing = false;
  let over = false;
  let silence: NodeJS.Timeout | undefined;
  const copy = async (): Promise<void> => {
    try {
      for await (const bytes of source) {
        writing = true;
        await write(bytes);
        writing = false;
        readAtMs = performance.now();
      }
    } catch {
      // A pipe that broke, or was closed below, has no more to say.
    } finally {
      over = true;
      clearInterval(silence);
    }
  };
  return {
    ended: copy(),
    endWhenSilent() {
      if (over) return;
      readAtMs = performance.now();
      silence = setInterval(() => {
        if (!writing && performance.now() - readAtMs >= silenceMs) source.destroy();
      }, silenceMs / 2);
    },
  };
}
