import { cp, lstat, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findBinaries } from './postgres-binaries.ts';

const asRoot = process.getuid?.() === 0;
const nobody = { uid: 65534, gid: 65534 };

let directory: string;
let packaged: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'conveyor-binaries-'));
  const installed = dirname(dirname(dirname((await findBinaries(undefined)).postgres)));
  await cp(join(installed, 'native'), join(directory, 'package/native'), { recursive: true, verbatimSymlinks: true });
  await cp(join(installed, 'package.json'), join(directory, 'package/package.json'));
  packaged = join(directory, 'package/native');
});

afterEach(async () => {
  await rm(directory, { recursive: true });
});

test('links that an installer left out are restored', async () => {
  const list = await readFile(join(packaged, 'pg-symlinks.json'), 'utf8');
  const links = (JSON.parse(list) as { target: string }[]).map(({ target }) => join(directory, 'package', target));
  for (const link of links) await rm(link, { force: true });
  expect((await findBinaries(undefined, { packaged })).major).toBe(18);
  expect(links.length).toBeGreaterThan(0);
  for (const link of links) expect((await lstat(link)).isSymbolicLink()).toBe(true);
});

test.runIf(asRoot)('programs under a private directory are copied to a readable one, once', async () => {
  const cache = await mkdtemp(join(tmpdir(), 'conveyor-cache-'));
  const caches = [join('/proc/no-such-place'), join(directory, '../', `${cache.split('/').at(-1)}-readable`)];
  try {
    const found = await findBinaries(nobody, { packaged, caches });
    expect(found.postgres.startsWith(caches[1]!)).toBe(true);
    const made = (await lstat(found.postgres)).ino;
    const again = await findBinaries(nobody, { packaged, caches });
    expect((await lstat(again.postgres)).ino).toBe(made);
  } finally {
    await rm(cache, { recursive: true, force: true });
    await rm(caches[1]!, { recursive: true, force: true });
  }
});

test.runIf(asRoot)('a cache that somebody else can write to is not used', async () => {
  const caches = [join(directory, 'cache')];
  await cp(packaged, caches[0]!, { recursive: true });
  const { chmod } = await import('node:fs/promises');
  await chmod(caches[0]!, 0o777);
  await expect(findBinaries(nobody, { packaged, caches })).rejects.toMatchObject({
    reason: 'PLATFORM_NOT_SUPPORTED',
    message: expect.stringContaining('not a directory that only root writes to'),
  });
});
