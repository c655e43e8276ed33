// Owns the directory of the embedded cluster and what identifies it: made whole beside its place and then renamed
// into it, so that a cluster either is complete or is not there.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, chmod, chown, lchown, mkdir, mkdtemp, open, readdir, readFile } from 'node:fs/promises';
import { rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { DatabaseStartError } from '../start-error.ts';
import { environment, findBinaries, type PostgresBinaries, type RunAs } from './postgres-binaries.ts';
import { renderSettings } from './settings.ts';

/** A complete cluster of the right version, with the programs that serve it. */
export interface Cluster {
  /** Holds the cluster, its credentials and its log; only the server's user may enter. */
  readonly home: string;
  /** PostgreSQL's own data directory. */
  readonly directory: string;
  /** Marks the server's command line. */
  readonly id: string;
  readonly password: string;
  readonly runAs: RunAs;
  readonly binaries: PostgresBinaries;
}

interface Credentials {
  readonly id: string;
  readonly password: string;
}

/** The one role of the cluster, its superuser. */
export const superuser = 'conveyor';

/**
 * How the server's programs name their data directory. The kernel resolves it without walking the path, so a server
 * that runs as another user works below directories which that user cannot enter (root's home, a private directory).
 */
export const ownDirectory = (directory: string): string =>
  process.platform === 'linux' ? '/proc/self/cwd' : directory;

// PostgreSQL refuses to run as root; this is the customary uid and gid of nobody.
const nobody = { uid: 65534, gid: 65534 };
const stagingPrefix = 'postgres.init-';

/** Opens the cluster below `dataDir`, making it first if there is none. The caller holds the directory's lock. */
export async function openCluster(dataDir: string): Promise<Cluster> {
  await removeStaging(dataDir);
  const home = join(dataDir, 'postgres');
  const directory = join(home, 'cluster');
  const runAs = await chooseUser(home, directory);
  const binaries = await findBinaries(runAs);
  if (!(await exists(home))) await createCluster(dataDir, home, runAs, binaries);
  await checkVersion(directory, binaries.major);
  const { id, password } = await readCredentials(home);
  await writeOwned(join(directory, 'conveyor.conf'), renderSettings(), runAs);
  return { home, directory, id, password, runAs, binaries };
}

// A process killed while it made a cluster leaves the unfinished one behind.
async function removeStaging(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    if (name.startsWith(stagingPrefix)) await rm(join(dataDir, name), { recursive: true, maxRetries: 20 });
  }
}

// Root runs the server as whoever owns the cluster, and gives one that root itself owns (a restored copy) to nobody.
async function chooseUser(home: string, directory: string): Promise<RunAs> {
  if (process.getuid?.() !== 0) return undefined;
  if (!(await exists(directory))) return nobody;
  const { uid, gid } = await stat(directory);
  if (uid !== 0) return { uid, gid };
  for (const entry of await readdir(home, { recursive: true, withFileTypes: true })) {
    await lchown(join(entry.parentPath, entry.name), nobody.uid, nobody.gid);
  }
  await chown(home, nobody.uid, nobody.gid);
  return nobody;
}

async function createCluster(dataDir: string, home: string, runAs: RunAs, binaries: PostgresBinaries): Promise<void> {
  const staging = await mkdtemp(join(dataDir, stagingPrefix));
  const directory = join(staging, 'cluster');
  const credentials: Credentials = { id: randomBytes(8).toString('hex'), password: randomBytes(24).toString('hex') };
  await mkdir(directory, { mode: 0o700 });
  if (runAs !== undefined) {
    await chown(staging, runAs.uid, runAs.gid);
    await chown(directory, runAs.uid, runAs.gid);
  }
  const passwordFile = join(staging, 'password');
  await writeOwned(passwordFile, `${credentials.password}\n`, runAs);
  await initialise(directory, runAs, binaries);
  await rm(passwordFile);
  await appendFile(join(directory, 'postgresql.conf'), "\ninclude 'conveyor.conf'\n");
  await writeFile(join(staging, 'credentials.json'), JSON.stringify(credentials), { mode: 0o600, flush: true });
  await rename(staging, home);
  await syncDirectory(dataDir);
}

async function initialise(directory: string, runAs: RunAs, binaries: PostgresBinaries): Promise<void> {
  const own = ownDirectory(directory);
  const options = [
    `--pgdata=${own}`,
    `--pwfile=${own}/../password`,
    `--username=${superuser}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    // The builtin provider sorts by code point alike on every platform and in every release.
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--locale=C',
    '--data-checksums',
  ];
  const child = spawn(binaries.initdb, options, {
    ...runAs,
    cwd: directory,
    env: environment,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, 'close')]);
  if (code !== 0) {
    throw new DatabaseStartError(
      'POSTGRES_DID_NOT_START',
      `initdb could not make a database in ${directory}: ${stderr.trim()}`,
    );
  }
}

async function checkVersion(directory: string, major: number): Promise<void> {
  const made = await readFile(join(directory, 'PG_VERSION'), 'utf8').catch((cause: unknown) => {
    throw damaged(directory, 'PG_VERSION is missing', cause);
  });
  if (Number(made) === major) return;
  throw new DatabaseStartError(
    'DATA_DIRECTORY_OTHER_VERSION',
    `${directory} was made by PostgreSQL ${made.trim()}, and this Conveyor brings PostgreSQL ${major}. Start the ` +
      'Conveyor version that made it; to move, dump it there with pg_dump and restore the dump into a new data directory',
  );
}

async function readCredentials(home: string): Promise<Credentials> {
  const path = join(home, 'credentials.json');
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Credentials;
  } catch (cause) {
    throw damaged(home, `${path} cannot be read`, cause);
  }
}

function damaged(directory: string, what: string, cause: unknown): DatabaseStartError {
  return new DatabaseStartError(
    'DATA_DIRECTORY_DAMAGED',
    `${directory} is not a complete database: ${what}. Restore it from a backup, or choose another data directory`,
    { cause },
  );
}

/** Writes a file that the server's user, and nobody else, may read. */
export async function writeOwned(path: string, content: string, runAs: RunAs): Promise<void> {
  await writeFile(path, content, { mode: 0o600 });
  await chmod(path, 0o600);
  if (runAs !== undefined) await chown(path, runAs.uid, runAs.gid);
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
