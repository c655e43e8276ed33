// The sources of a commit of this repository beside this checkout, with its dependencies linked from here, so that its server can run.
import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, realpath, rm, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const repository = fileURLToPath(new URL('../../', import.meta.url));
const workspace = ['packages/protocol', 'packages/client', 'packages/driver', 'packages/server', 'test'];

export interface EarlierBuild extends AsyncDisposable {
  /** Its server as a process of a test. */
  readonly program: URL;
}

/** @returns undefined when the history that is here does not reach back so far. */
export async function checkOutEarlier(commit: string, directory: string): Promise<EarlierBuild | undefined> {
  const git = (...argv: string[]) => run('git', ['-C', repository, ...argv]);
  const isThere = await git('cat-file', '-e', `${commit}^{commit}`).then(
    () => true,
    () => false,
  );
  if (!isThere) return undefined;
  await git('worktree', 'add', '--detach', directory, commit);
  await using stack = new AsyncDisposableStack();
  stack.defer(async () => {
    await git('worktree', 'remove', '--force', directory).catch(() => rm(directory, { recursive: true, force: true }));
    await git('worktree', 'prune');
  });
  for (const name of workspace) await linkModules(name, directory);
  // The program that starts it is today's: its public API is what stays.
  for (const file of ['server-process.ts', 'processes.ts']) {
    await cp(join(repository, 'test/e2e', file), join(directory, 'test/e2e', file));
  }
  const moved = stack.move();
  return {
    program: pathToFileURL(join(directory, 'test/e2e/server-process.ts')),
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
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
