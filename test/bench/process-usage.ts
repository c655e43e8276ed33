// Owns what the kernel counts of processes: processor time and memory. Linux only, since it reads /proc.
import { readFile, readdir } from 'node:fs/promises';

/** Processor time that a process has used, in milliseconds. */
export async function processorMs(pid: number): Promise<number> {
  return (await readUsage(pid))?.ownMs ?? 0;
}

/** Processor time of a process and of all its children, ended ones too, in milliseconds. */
export async function familyProcessorMs(pid: number): Promise<number> {
  const usages = await readFamily(pid);
  return usages.reduce((total, usage) => total + usage.ownMs + (usage.pid === pid ? usage.endedChildrenMs : 0), 0);
}

/** Memory of a process that is resident now, in bytes. */
export async function residentBytes(pid: number): Promise<number> {
  return await readKilobytes(pid, 'status', 'VmRSS');
}

/** Memory of a process and of its children, in bytes; what they share counts once. */
export async function familyProportionalBytes(pid: number): Promise<number> {
  const usages = await readFamily(pid);
  const each = await Promise.all(usages.map((usage) => readKilobytes(usage.pid, 'smaps_rollup', 'Pss')));
  return each.reduce((total, bytes) => total + bytes, 0);
}

interface Usage {
  readonly pid: number;
  readonly parentPid: number;
  readonly ownMs: number;
  readonly endedChildrenMs: number;
}

// The kernel shows times to user space in hundredths of a second, whatever its own tick is.
const tickMs = 10;

async function readFamily(pid: number): Promise<Usage[]> {
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const usages = await Promise.all(names.map((name) => readUsage(Number(name))));
  return usages.filter((usage) => usage !== undefined).filter((usage) => usage.pid === pid || usage.parentPid === pid);
}

// Undefined for a process that has ended.
async function readUsage(pid: number): Promise<Usage | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  // The name in parentheses may hold anything, so fields are counted behind its end; see proc_pid_stat(5).
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const field = (number: number): number => Number(fields[number - 3]);
  return {
    pid,
    parentPid: field(4),
    ownMs: (field(14) + field(15)) * tickMs,
    endedChildrenMs: (field(16) + field(17)) * tickMs,
  };
}

async function readKilobytes(pid: number, file: string, name: string): Promise<number> {
  const text = await readFile(`/proc/${pid}/${file}`, 'utf8');
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1]) * 1024;
}
