// Owns running the command as a user does, with nothing of this process's surroundings: quickly in this process, or as a
// process of its own where that is what is tested.
import { type ChildProcess, spawn } from 'node:child_process';
import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { runCommand } from '../program.ts';

type Variables = Readonly<Record<string, string>>;

/** How a command ended and what it said. */
export interface CommandResult {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command in this process. */
export async function run(args: readonly string[], env: Variables, stdin = ''): Promise<CommandResult> {
  const { exitCode, stdout, stderr } = await runForBytes(args, env, stdin);
  return { exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

/** Runs the command in this process, for what it writes byte for byte. */
export async function runForBytes(
  args: readonly string[],
  env: Variables,
  stdin = '',
): Promise<{ exitCode: number; stdout: Buffer; stderr: Buffer }> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const written = Promise.all([buffer(stdout), buffer(stderr)]);
  const exitCode = await runCommand(args, { env, stdin: Readable.from([stdin]), stdout, stderr });
  stdout.end();
  stderr.end();
  const [out, err] = await written;
  return { exitCode, stdout: out, stderr: err };
}

/** A command in a process of its own; disposing it asks it to stop and waits for that. */
export interface StartedCommand extends AsyncDisposable {
  readonly process: ChildProcess;
  /** Resolves once standard output or error holds the text. */
  said(text: string): Promise<void>;
  /** What it said so far. */
  soFar(): { readonly stdout: string; readonly stderr: string };
  readonly result: Promise<CommandResult>;
}

const main = fileURLToPath(new URL('../main.ts', import.meta.url));

/** Starts the command as a process. */
export function start(args: readonly string[], env: Variables): StartedCommand {
  const child = spawn(process.execPath, ['--conditions=source', main, ...args], { env: { ...env } });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  const result = new Promise<CommandResult>((resolve) => {
    child.once('close', (exitCode) => resolve({ exitCode, stdout, stderr }));
  });
  return {
    process: child,
    said: (text) =>
      new Promise((resolve) => {
        const check = () => {
          if (stdout.includes(text) || stderr.includes(text)) resolve();
        };
        child.stdout.on('data', check);
        child.stderr.on('data', check);
        check();
      }),
    soFar: () => ({ stdout, stderr }),
    result,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await result;
    },
  };
}
