// Owns a short path to the server's socket: socket addresses end at 103 bytes (macOS) or 107 (Linux), and data
// directories may lie deeper. The server itself binds relative to its own directory.
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const socketName = '.s.PGSQL.5432';
const longestAddress = 103;

/** A directory whose name is short enough to connect to the socket in `directory`. */
export interface SocketAlias extends AsyncDisposable {
  readonly directory: string;
}

/** Returns the directory itself if its name is short enough, otherwise a link to it in a private temporary directory. */
export async function aliasSocket(directory: string): Promise<SocketAlias> {
  if (Buffer.byteLength(join(directory, socketName)) <= longestAddress) {
    return { directory, async [Symbol.asyncDispose]() {} };
  }
  const parent = await shortTemporaryDirectory();
  const alias = join(parent, 'pg');
  await symlink(directory, alias);
  return {
    directory: alias,
    async [Symbol.asyncDispose]() {
      await rm(parent, { recursive: true, force: true });
    },
  };
}

async function shortTemporaryDirectory(): Promise<string> {
  const base = Buffer.byteLength(tmpdir()) <= 60 ? tmpdir() : '/tmp';
  return await mkdtemp(join(base, 'conveyor-'));
}
