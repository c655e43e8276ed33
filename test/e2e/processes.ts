// Owns the child processes of tests: each runs a file that calls `ready`, gets its settings as JSON and says when it is ready. None
// outlives its test: a process whose parent is gone ends.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** A process that runs. Disposing kills it, if it still does. */
export interface Process<Ready> extends AsyncDisposable {
  readonly pid: number;
  /** What it said when it was ready. */
  readonly ready: Ready;
  /** All that it wrote on its standard error, once it is gone. */
  readonly errors: Promise<string>;
  /** False once it is gone. */
  isRunning(): boolean;
  /** SIGKILL. Resolves once the process is gone, with the signal that ended it. */
  kill(): Promise<NodeJS.Signals | null>;
  /** SIGTERM. Resolves once the process has ended by itself, with its exit code. */
  stop(): Promise<number | null>;
  /** SIGSTOP: its sockets stay open and nobody answers. */
  freeze(): void;
  /** SIGCONT. */
  thaw(): void;
}

/** No process takes so long to start or to stop, whatever else the machine does. */
const patienceMs = 60_000;

export interface ProcessOptions {
  /** Modules that it imports before anything else. Default: none. */
  readonly preload?: readonly URL[];
  /** Added to the environment. Default: nothing. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts a file, named from this directory, which must call `ready`, and returns once it has. */
export async function startProcess<Ready>(
  file: string | URL,
  settings: object,
  { preload = [], env = {} }: ProcessOptions = {},
): Promise<Process<Ready>> {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), [JSON.stringify(settings)], {
    execArgv: ['--conditions=source', ...preload.map(({ href }) => `--import=${href}`)],
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const errors = child.stderr === null ? Promise.resolve('') : text(child.stderr);
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  const started = await inTime(
    Promise.race([once(child, 'message').then(([message]) => ({ message: message as Ready })), exited]),
    'start',
  );
  if (!('message' in started)) throw new Error(`${String(file)} did not start: ${await errors}`);

  /** A process that hangs is killed, and its test fails instead of hanging with it. */
  async function inTime<T>(work: Promise<T>, verb: string): Promise<T> {
    const timer = new AbortController();
    const over = delay(patienceMs, undefined, timer).then(async () => {
      await kill();
      throw new Error(`${String(file)} did not ${verb} within ${patienceMs} ms and was killed: ${await errors}`);
    });
    over.catch(() => undefined);
    return await Promise.race([work, over]).finally(() => timer.abort());
  }

  async function kill(): Promise<NodeJS.Signals | null> {
    child.kill('SIGKILL');
    return (await exited)[1];
  }

  return {
    pid: child.pid ?? 0,
    ready: started.message,
    errors,
    isRunning: () => child.exitCode === null && child.signalCode === null,
    kill,
    async stop() {
      child.kill('SIGTERM');
      const [code] = await inTime(exited, 'stop');
      if (code !== 0) throw new Error(`${String(file)} ended with ${code}: ${await errors}`);
      return code;
    },
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    async [Symbol.asyncDispose]() {
      await kill();
    },
  };
}

/** The settings of this process. */
export function processSettings<Settings>(): Settings {
  return JSON.parse(process.argv[2] ?? '{}') as Settings;
}

/** Says that this process is ready; from now on it ends when its parent does. */
export function ready(message: object): void {
  process.once('disconnect', () => process.exit(1));
  process.send?.(message);
}
