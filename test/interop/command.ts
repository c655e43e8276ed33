// Owns programs that are not ours: started, fed, read to their end, and killed when the signal aborts.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { basename } from 'node:path';
import { text } from 'node:stream/consumers';

export interface CommandOptions {
  readonly signal: AbortSignal;
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** What it reads from standard input. Default: nothing. */
  readonly input?: string;
}

export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, whatever its exit code. Throws when it cannot be started, and the signal's reason when that aborts. */
export async function runCommand(
  file: string,
  argv: readonly string[],
  { signal, env, cwd, input = '' }: CommandOptions,
): Promise<CommandResult> {
  const child = spawn(file, argv, {
    cwd,
    env: { ...process.env, ...env },
    stdio: 'pipe',
    signal,
    killSignal: 'SIGKILL',
  });
  const ended = once(child, 'close');
  // One that reads no input may end before it is written.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { code: child.exitCode, stdout, stderr };
}

/** As `runCommand`, but throws when the exit code is not 0. Returns the standard output. */
export async function mustRun(file: string, argv: readonly string[], options: CommandOptions): Promise<string> {
  const { code, stdout, stderr } = await runCommand(file, argv, options);
  // Its arguments may hold a token.
  if (code !== 0) throw new Error(`${basename(file)} ended with exit code ${code}\n${stdout}${stderr}`);
  return stdout;
}

/** A program that does not end on a signal in this time is killed. */
const endWithinMs = 30_000;

/** A program that goes on until it is ended; what it writes to standard error is written to ours. */
export interface Program extends AsyncDisposable {
  /** Sends the signal and returns once the program has ended. */
  end(signal: NodeJS.Signals): Promise<void>;
}

/** Starts a program; disposing ends it at once. */
export function startProgram(file: string, argv: readonly string[], env: Readonly<Record<string, string>>): Program {
  const child = spawn(file, argv, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = once(child, 'exit');
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), endWithinMs);
    await ended;
    clearTimeout(timer);
  };
  return { end, [Symbol.asyncDispose]: () => end('SIGKILL') };
}

/** Whether a program can be started at all. */
export async function isInstalled(file: string, argv: readonly string[]): Promise<boolean> {
  try {
    const { code } = await runCommand(file, argv, { signal: AbortSignal.timeout(20_000) });
    return code === 0;
  } catch {
    return false;
  }
}
