import { chmod, cp, lstat, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findBinaries } from './postgres-binaries.ts';

const asRoot = process.getuid?.() === 0;
const nobody = { uid: 65534, gid: 65534 };

let directory: string;
let packaged: string;

// A copy of the package that may be changed, where nobody else can read it: mkdtemp makes 0700.
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'conveyor-binaries-'));
  const installed = dirname(dirname(dirname((await findBinaries(undefined)).postgres)));
  await cp(join(installed, 'native'), join(directory, 'package/native'), { recursive: true, verbatimSymlinks: true });
  await cp(join(installed, 'package.json'), join(directory, 'package/package.json'));
  packaged = join(directory, 'package/native');
});

afterAll(async () => {
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

test.runIf(asRoot)('programs under a private directory are copied to the first possible cache, once', async () => {
  const cache = await mkdtemp(join(tmpdir(), 'conveyor-cache-'));
  await chmod(cache, 0o755);
  const impossible = join(packaged, 'bin/postgres/cache');
  try {
    const found = await findBinaries(nobody, { packaged, caches: [impossible, cache] });
    expect(found.postgres.startsWith(cache)).toBe(true);
    const made = (await lstat(found.postgres)).ino;
    const again = await findBinaries(nobody, { packaged, caches: [impossible, cache] });
    expect((await lstat(again.postgres)).ino).toBe(made);
  } finally {
    await rm(cache, { recursive: true });
  }
});

test.runIf(asRoot)('a cache that somebody else can write to is not used', async () => {
  const cache = join(directory, 'cache');
  await mkdir(cache);
  await chmod(cache, 0o777);
  await expect(findBinaries(nobody, { packaged, caches: [cache] })).rejects.toMatchObject({
    reason: 'PLATFORM_NOT_SUPPORTED',
    message: expect.stringContaining('not a directory that only root writes to'),
  });
});
