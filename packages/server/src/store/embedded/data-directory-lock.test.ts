import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lockDataDirectory } from './data-directory-lock.ts';
import { identifyProcess } from './process-identity.ts';

let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'conveyor-lock-'));
  path = join(directory, 'postgres.lock');
});

afterEach(async () => {
  await rm(directory, { recursive: true });
});

/** How many of many attempts at once got the lock, which the winners keep. */
async function contend(): Promise<number> {
  const attempts = await Promise.allSettled(Array.from({ length: 20 }, () => lockDataDirectory(path)));
  return attempts.filter(({ status }) => status === 'fulfilled').length;
}

const dead = { pid: process.pid, startTime: 'long ago', token: 'aaaa' };

test('a free lock has one winner', async () => {
  expect(await contend()).toBe(1);
});

test('a lock whose process ended has one winner, even if its pid lives on in another process', async () => {
  await writeFile(path, JSON.stringify(dead));
  expect(await contend()).toBe(1);
  expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject(await identifyProcess(process.pid).then((it) => it!));
});

test('a takeover that was cut off is taken over in turn', async () => {
  await writeFile(path, JSON.stringify(dead));
  await writeFile(`${path}.aaaa`, JSON.stringify({ ...dead, token: 'bbbb' }));
  expect(await contend()).toBe(1);
});

test('a lock file that lost its content to a power failure is free', async () => {
  await writeFile(path, '');
  expect(await contend()).toBe(1);
});

test('a released lock leaves nothing behind and can be taken again', async () => {
  await writeFile(path, JSON.stringify(dead));
  const first = await lockDataDirectory(path);
  await first[Symbol.asyncDispose]();
  expect(await readdir(directory)).toEqual([]);
  await (await lockDataDirectory(path))[Symbol.asyncDispose]();
});
