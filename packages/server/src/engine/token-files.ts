// The files of a data directory that hold a secret or an id, one line each: readable by their owner alone, whole or not there, and
// made once however many processes start at a time.
import { randomBytes } from 'node:crypto';
import { link, readFile, unlink, writeFile } from 'node:fs/promises';

export interface KeptText {
  readonly text: string;
  /** Whether the file was made by this call. */
  readonly isNew: boolean;
}

/** Reads the line that a file holds; when there is no file, makes it with the line that `make` returns. */
export async function keepText(path: string, make: () => string): Promise<KeptText> {
  const kept = await readText(path);
  if (kept !== undefined) return { text: kept, isNew: false };
  const made = make();
  if (await createWhole(path, `${made}\n`)) return { text: made, isNew: true };
  const theirs = await readText(path);
  if (theirs === undefined) throw new Error(`${path} was made and removed by another process: start again`);
  return { text: theirs, isNew: false };
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    if (isCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Returns false when the file is there already. A rename would replace what another process has just made. */
async function createWhole(path: string, content: string): Promise<boolean> {
  const draft = `${path}.${randomBytes(6).toString('hex')}.new`;
  await writeFile(draft, content, { mode: 0o600, flag: 'wx', flush: true });
  try {
    await link(draft, path);
    return true;
  } catch (error) {
    if (isCode(error, 'EEXIST')) return false;
    throw error;
  } finally {
    await unlink(draft);
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
