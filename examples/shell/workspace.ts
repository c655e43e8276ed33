// Owns the directories of shell jobs. Each attempt has one of its own, gone when it ends; the jobs of a run that this machine
// executes share another, gone a day after its last use. What a killed driver left behind goes the same way.
import { mkdir, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { JobContext } from '@conveyor/driver';

/** The directories and files of one attempt. */
export interface Workspace {
  /** Empty at first, for this attempt alone. */
  readonly own: string;
  /** Shared by the jobs of the run on this machine. */
  readonly run: string;
  /** The program to run. */
  readonly script: string;
  /** The outputs of the jobs that this one needs, by job name, and how each finished; as JSON. */
  readonly needs: string;
  /** The run's params, as JSON. */
  readonly params: string;
  /** Empty at first; a line `key=value` in it becomes an output. */
  readonly output: string;
  /** Removes all but the directory of the run. */
  close(): Promise<void>;
}

const keepMs = 7 * 24 * 60 * 60 * 1000;

/** Makes the directories of an attempt below `root`, with its files. */
export async function openWorkspace(root: string, context: JobContext<unknown>, script: string): Promise<Workspace> {
  const { job, needs, params } = context;
  const attempts = join(root, 'attempts');
  const runs = join(root, 'runs');
  const attempt = join(attempts, job.attemptId);
  const workspace = {
    own: join(attempt, 'workspace'),
    run: join(runs, job.runId),
    script: join(attempt, 'script'),
    needs: join(attempt, 'needs.json'),
    params: join(attempt, 'params.json'),
    output: join(attempt, 'output'),
  };
  const made = await Promise.all([
    mkdir(workspace.own, { recursive: true }),
    mkdir(workspace.run, { recursive: true }),
  ]);
  // A new run is the time to look for old ones.
  if (made[1] !== undefined) await Promise.all([removeUnused(attempts), removeUnused(runs)]);
  const now = new Date();
  await Promise.all([
    utimes(workspace.run, now, now),
    writeFile(workspace.script, script),
    writeFile(workspace.needs, JSON.stringify(needs)),
    writeFile(workspace.params, JSON.stringify(params)),
    writeFile(workspace.output, ''),
  ]);
  return { ...workspace, close: () => rm(attempt, { recursive: true, force: true }) };
}

async function removeUnused(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const directory = join(parent, name);
    // Another driver may remove it at the same time.
    const stats = await stat(directory).catch(() => undefined);
    if (stats !== undefined && Date.now() - stats.mtimeMs > keepMs)
      await rm(directory, { recursive: true, force: true });
  }
}
