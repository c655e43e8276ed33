// Owns the server process of one cluster: starts it, or adopts the very process that it would have started, and stops
// it. No other process is ever signalled: a pid counts only together with its command line.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { DatabaseStartError } from '../start-error.ts';
import { type Cluster, ownDirectory } from './cluster.ts';
import { environment } from './postgres-binaries.ts';
import { commandLine, identifyProcess, isRunning, type ProcessIdentity } from './process-identity.ts';
import { renderSettings } from './settings.ts';

const pollMs = 10;
const stopSteps = [
  { signal: 'SIGINT', waitMs: 10_000 },
  { signal: 'SIGQUIT', waitMs: 10_000 },
] as const;

/** A server process; it may not accept connections yet. */
export interface Postmaster {
  readonly process: ProcessIdentity;
  /** Whether it was left running by an earlier owner. */
  readonly adopted: boolean;
}

/** Starts the cluster's server, or adopts it if it runs with the same programs and settings. */
export async function launch(cluster: Cluster, logFile: string): Promise<Postmaster> {
  const found = await findRunning(cluster);
  if (found !== undefined) {
    if (found.arguments === serverArguments(cluster).join(' ')) return { process: found.process, adopted: true };
    await stop(found.process);
  }
  return { process: await start(cluster, logFile), adopted: false };
}

/** Stops a server: open transactions are rolled back, what is committed is kept. */
export async function stop(server: ProcessIdentity): Promise<void> {
  for (const { signal, waitMs } of stopSteps) {
    if (!(await isRunning(server))) return;
    signalProcess(server.pid, signal);
    if (await ended(server, waitMs)) return;
  }
  throw new DatabaseStartError(
    'POSTGRES_DID_NOT_STOP',
    `the embedded PostgreSQL (process ${server.pid}) does not stop`,
  );
}

// The last two arguments are no settings that PostgreSQL knows: they mark whose process it is, and which settings it has.
function serverArguments(cluster: Cluster): string[] {
  const digest = createHash('sha256').update(renderSettings()).digest('hex').slice(0, 16);
  return [
    cluster.binaries.postgres,
    '-D',
    ownDirectory(cluster.directory),
    '-c',
    clusterMark(cluster),
    '-c',
    `conveyor.settings=${digest}`,
  ];
}

const clusterMark = (cluster: Cluster): string => `conveyor.cluster=${cluster.id}`;

async function findRunning(cluster: Cluster): Promise<{ process: ProcessIdentity; arguments: string } | undefined> {
  const pidFile = join(cluster.directory, 'postmaster.pid');
  const pid = Number.parseInt(await readFile(pidFile, 'utf8').catch(() => ''), 10);
  if (!(pid > 0)) return undefined;
  const process = await identifyProcess(pid);
  const found = process === undefined ? undefined : await commandLine(pid);
  if (process !== undefined && found?.split(' ').includes(clusterMark(cluster)) === true) {
    return { process, arguments: found };
  }
  await vacateLock(pidFile);
  await vacateLock(join(cluster.directory, '.s.PGSQL.5432.lock'));
  return undefined;
}

// PostgreSQL does not start while some process has the pid in its lock file: one that got the number since, or one that ended
// and that its parent has not waited for. But it never takes its own parent, us, for a server. The rest of the file stays: it
// names the shared memory by which PostgreSQL finds out whether sessions of the old server still run.
async function vacateLock(path: string): Promise<void> {
  const content = await readFile(path, 'utf8').catch(() => undefined);
  if (content !== undefined) await writeFile(path, content.replace(/^\d+/, String(process.pid)));
}

async function start(cluster: Cluster, logFile: string): Promise<ProcessIdentity> {
  const [file = '', ...rest] = serverArguments(cluster);
  const log = await open(logFile, 'a', 0o600);
  try {
    const child = spawn(file, rest, {
      ...cluster.runAs,
      cwd: cluster.directory,
      env: environment,
      stdio: ['ignore', log.fd, log.fd],
      // A terminal's interrupt goes to the whole group: the server must outlive the connections of its owner.
      detached: true,
    });
    child.unref();
    const spawned = Promise.withResolvers<undefined>();
    child.once('spawn', () => spawned.resolve(undefined)).once('error', spawned.reject);
    await spawned.promise;
    // One that has already ended is seen by whoever waits for it to accept connections.
    return (await identifyProcess(child.pid ?? 0)) ?? { pid: child.pid ?? 0, startTime: 'ended' };
  } finally {
    await log.close();
  }
}

function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function ended(server: ProcessIdentity, withinMs: number): Promise<boolean> {
  const deadline = performance.now() + withinMs;
  while (await isRunning(server)) {
    if (performance.now() > deadline) return false;
    await delay(pollMs);
  }
  return true;
}
