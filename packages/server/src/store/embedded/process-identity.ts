// Owns the answer to "is this still the same process?". A pid alone is reused, so it always comes with a start time.
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A process that is told apart from a later one with the same pid. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Opaque; equal for the same process only. */
  readonly startTime: string;
}

/** The identity of the process that runs now under `pid`; undefined when there is none. */
export async function identifyProcess(pid: number): Promise<ProcessIdentity | undefined> {
  const startTime = process.platform === 'linux' ? await startTicks(pid) : await ask(pid, 'lstart=');
  return startTime === undefined ? undefined : { pid, startTime };
}

/** Whether the identified process still runs. */
export async function isRunning(identity: ProcessIdentity): Promise<boolean> {
  return (await identifyProcess(identity.pid))?.startTime === identity.startTime;
}

/** The arguments of a process joined by one space; undefined when there is no such process. */
export async function commandLine(pid: number): Promise<string | undefined> {
  if (process.platform !== 'linux') return await ask(pid, 'command=');
  const bytes = await readProc(pid, 'cmdline');
  return bytes?.replace(/\0$/, '').replaceAll('\0', ' ');
}

async function startTicks(pid: number): Promise<string | undefined> {
  const stat = await readProc(pid, 'stat');
  if (stat === undefined) return undefined;
  // proc(5): field 2 is the name in parentheses and may itself contain spaces and parentheses; 3 is the state, 22 the start.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ended = fields[0] === 'Z' || fields[0] === 'X';
  if (ended) return undefined;
  // Ticks count from boot, so a lock file that outlives a reboot needs the boot as well.
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '');
  return `${boot.trim()}:${fields[19]}`;
}

async function readProc(pid: number, file: string): Promise<string | undefined> {
  return await readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => undefined);
}

async function ask(pid: number, column: string): Promise<string | undefined> {
  // ps exits with 1 when no process has the pid.
  const { stdout } = await run('ps', ['-ww', '-o', column, '-p', String(pid)]).catch(() => ({ stdout: '' }));
  return stdout.trim() === '' ? undefined : stdout.trim();
}
