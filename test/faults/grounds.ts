// Where the suite plays: a directory that every process of it takes for the temporary one, by which what it leaves is told from all else.
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

export interface Grounds {
  /** The processes that were started here, by this one or by its children, and still run. */
  running(): Promise<readonly number[]>;
  /** Ends them, and removes the directory with all that is in it. */
  clear(): Promise<void>;
}

export async function openGrounds(): Promise<Grounds> {
  const directory = await mkdtemp(join(tmpdir(), 'conveyor-faults-'));
  // A PostgreSQL that must not run as root goes through it as somebody else.
  await chmod(directory, 0o711);
  process.env['TMPDIR'] = directory;

  async function running(): Promise<readonly number[]> {
    const pids = (await readdir('/proc')).map(Number).filter((pid) => Number.isInteger(pid) && pid !== process.pid);
    const ours = await Promise.all(pids.map(async (pid) => ((await startedHere(pid)) ? [pid] : [])));
    return ours.flat();
  }

  async function startedHere(pid: number): Promise<boolean> {
    // It may be gone, or somebody else's.
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    if (environment.split('\0').includes(`TMPDIR=${directory}`)) return true;
    // A PostgreSQL has an environment of its own, and its data directory for its current one.
    return (await readlink(`/proc/${pid}/cwd`).catch(() => '')).startsWith(`${directory}/`);
  }

  return {
    running,
    async clear() {
      for (const pid of await running()) kill(pid);
      for (const mounted of await mountsBelow(directory)) await promisify(execFile)('umount', ['--lazy', mounted]);
      await rm(directory, { recursive: true, force: true, maxRetries: 20 });
    },
  };
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}

async function mountsBelow(directory: string): Promise<readonly string[]> {
  const lines = (await readFile('/proc/self/mounts', 'utf8')).split('\n');
  return lines.map((line) => line.split(' ')[1] ?? '').filter((path) => path.startsWith(`${directory}/`));
}
