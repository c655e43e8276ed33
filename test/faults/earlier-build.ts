// The sources of an earlier commit of this repository in a directory of their own, with the dependencies that are installed here, so
// that its server can run beside this one.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readdir, realpath, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const repository = fileURLToPath(new URL('../../', import.meta.url));
const workspace = ['packages/protocol', 'packages/client', 'packages/driver', 'packages/server', 'test'];

/**
 * Lays out the newest commit of this subject.
 * @returns Its server as a process of a test; undefined when the history that is here does not reach back so far.
 */
export async function layOutEarlier(subject: string, directory: string): Promise<URL | undefined> {
  const commit = await findCommit(subject);
  if (commit === undefined) return undefined;
  await mkdir(directory);
  await unpack(commit, directory);
  for (const name of workspace) await linkModules(name, directory);
  // The program that starts it is today's: its public API is what stays.
  for (const file of ['server-process.ts', 'processes.ts']) {
    await cp(join(repository, 'test/e2e', file), join(directory, 'test/e2e', file));
  }
  return pathToFileURL(join(directory, 'test/e2e/server-process.ts'));
}

async function findCommit(subject: string): Promise<string | undefined> {
  const { stdout } = await run('git', [
    '-C',
    repository,
    'log',
    '--format=%H %s',
    '--fixed-strings',
    `--grep=${subject}`,
  ]).catch(
    // Not a clone.
    () => ({ stdout: '' }),
  );
  const line = stdout.split('\n').find((text) => text.endsWith(` ${subject}`));
  return line?.split(' ')[0];
}

async function unpack(commit: string, directory: string): Promise<void> {
  const archive = spawn('git', ['-C', repository, 'archive', commit], { stdio: ['ignore', 'pipe', 'inherit'] });
  const tar = spawn('tar', ['-x', '-C', directory], { stdio: [archive.stdout, 'inherit', 'inherit'] });
  const [[archived], [unpacked]] = await Promise.all([once(archive, 'exit'), once(tar, 'exit')]);
  if (archived !== 0 || unpacked !== 0) throw new Error(`commit ${commit} could not be laid out`);
}

/** Links what a package depends on: what is of the workspace to its own sources, everything else to what is installed here. */
async function linkModules(name: string, directory: string): Promise<void> {
  const from = join(repository, name, 'node_modules');
  const to = join(directory, name, 'node_modules');
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (entry.name.startsWith('.')) continue;
    const modules = entry.name.startsWith('@')
      ? (await readdir(join(from, entry.name))).map((module) => join(entry.name, module))
      : [entry.name];
    for (const module of modules) {
      const installed = await realpath(join(from, module));
      const own = workspace.find((one) => installed === join(repository, one));
      await mkdir(dirname(join(to, module)), { recursive: true });
      await symlink(own === undefined ? installed : join(directory, own), join(to, module));
    }
  }
}
