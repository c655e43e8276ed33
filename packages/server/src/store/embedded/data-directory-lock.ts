// Owns the right to a data directory: at most one live process holds it. A lock whose process ended is taken over
// by exactly one of the processes that want it.
import { randomBytes } from 'node:crypto';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { DatabaseStartError } from '../start-error.ts';
import { identifyProcess, isRunning, type ProcessIdentity } from './process-identity.ts';

interface Claim extends ProcessIdentity {
  /** Tells two claims of one process apart. */
  readonly token: string;
}

/**
 * Takes the lock file at `path` for this process until disposed.
 * Throws DATA_DIRECTORY_IN_USE while another live process, or another owner in this process, holds it.
 */
export async function lockDataDirectory(path: string): Promise<AsyncDisposable> {
  const self = await identifyProcess(process.pid);
  if (self === undefined) {
    throw new DatabaseStartError('PLATFORM_NOT_SUPPORTED', 'cannot read the start time of this process');
  }
  const claim: Claim = { ...self, token: randomBytes(6).toString('hex') };
  const draft = `${path}.${claim.token}.draft`;
  await writeFile(draft, JSON.stringify(claim), { mode: 0o600, flag: 'wx' });
  try {
    await acquire(path, draft);
  } finally {
    await rm(draft, { force: true });
  }
  return {
    async [Symbol.asyncDispose]() {
      await rm(path, { force: true });
    },
  };
}

// A stale lock is not removed and made anew: two processes could both see it stale, and the slower one would remove
// the lock that the faster one just took. Instead the right to replace the stale lock is itself a lock, named after
// the stale claim; who holds it looks again before replacing. That it can be left behind in turn ends the recursion
// only one crash deeper.
async function acquire(path: string, draft: string): Promise<void> {
  for (;;) {
    if (await tryLink(draft, path)) return;
    const holder = await readClaim(path);
    if (holder === undefined) continue;
    if (await isRunning(holder)) throw inUse(path, holder);
    const succession = `${path}.${holder.token}`;
    await acquire(succession, draft);
    if ((await readClaim(path))?.token === holder.token) {
      await rename(succession, path);
      return;
    }
    await rm(succession);
  }
}

async function tryLink(draft: string, path: string): Promise<boolean> {
  try {
    await link(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function readClaim(path: string): Promise<Claim | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Claim;
  } catch (error) {
    // A power failure can leave the file without its content: nobody holds it then.
    if (error instanceof SyntaxError) return { pid: 0, startTime: '', token: 'damaged' };
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function inUse(path: string, holder: Claim): DatabaseStartError {
  const who = holder.pid === process.pid ? 'this process' : `process ${holder.pid}`;
  return new DatabaseStartError(
    'DATA_DIRECTORY_IN_USE',
    `the data directory is in use by ${who} (lock file ${path}). Stop that process, choose another data directory, ` +
      'or, to run several servers over one database, give them all the same --database-url',
  );
}
