import { mkdtemp, readdir, readFile, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { openTestPools, type TestPools } from '../store/testing/pools.ts';
import { createTokenReader, ensureTokens } from './tokens.ts';

let pools: TestPools;

beforeAll(async () => {
  pools = await openTestPools();
});
afterAll(() => pools[Symbol.asyncDispose]());

async function newHome(): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), 'conveyor-tokens-'));
  onTestFinished(async () => await rm(parent, { recursive: true }));
  return join(parent, 'data');
}

/** Starts over a data directory. Returns what was logged. */
async function start(dataDir: string, driverTokens?: Record<string, string[]>): Promise<string[]> {
  const messages: string[] = [];
  const write = (_: object, message: string) => void messages.push(message);
  const log = { info: write, warn: write, error: write };
  await ensureTokens({ pool: pools.pool, dataDir, log, ...(driverTokens !== undefined && { driverTokens }) });
  return messages;
}

async function tokenIn(dataDir: string, name: string): Promise<string> {
  return (await readFile(join(dataDir, `${name}.token`), 'utf8')).trim();
}

/** Who holds a token, asked of a replica that has cached nothing. */
async function holderOf(token: string) {
  return await createTokenReader(pools).authenticateToken(token);
}

test('the first start makes an operator and a driver token, for their owner alone', async () => {
  const dataDir = await newHome();
  await start(dataDir);
  const [operator, driver] = [await tokenIn(dataDir, 'operator'), await tokenIn(dataDir, 'driver')];
  expect(operator).toMatch(/^cvop_[A-Za-z0-9_-]{43}$/);
  expect(driver).toMatch(/^cvdr_[A-Za-z0-9_-]{43}$/);
  expect(await holderOf(operator)).toEqual({ role: 'operator', id: expect.stringMatching(/^operator\./) });
  expect(await holderOf(driver)).toEqual({ role: 'driver', id: expect.stringMatching(/^driver\./) });
  for (const file of await readdir(dataDir)) expect((await stat(join(dataDir, file))).mode & 0o777).toBe(0o600);
  expect((await stat(dataDir)).mode & 0o777).toBe(0o700);
});

test('no token is stored in clear text', async () => {
  const dataDir = await newHome();
  await start(dataDir);
  const { rows } = await pools.pool.query<{ text: string }>("select string_agg(t::text, ' ') as text from tokens t");
  for (const name of ['operator', 'driver']) {
    const token = await tokenIn(dataDir, name);
    expect(rows[0]?.text).not.toContain(token);
    expect(rows[0]?.text).not.toContain(Buffer.from(token).toString('hex'));
  }
});

test('later starts keep the tokens', async () => {
  const dataDir = await newHome();
  await start(dataDir);
  const before = await tokenIn(dataDir, 'operator');
  expect(await start(dataDir)).toEqual([]);
  expect(await tokenIn(dataDir, 'operator')).toBe(before);
  expect(await holderOf(before)).toMatchObject({ role: 'operator' });
});

test('processes that start over one data directory at the same time agree on its tokens', async () => {
  // Over several directories, so that some of them meet between looking for a token and storing it.
  const homes = await Promise.all(Array.from({ length: 10 }, newHome));
  for (const home of homes) await Promise.all(Array.from({ length: 6 }, () => start(home)));
  const [dataDir] = homes as [string];
  expect((await readdir(dataDir)).toSorted()).toEqual(['driver.token', 'operator.token', 'tokens.id']);
  expect(await holderOf(await tokenIn(dataDir, 'operator'))).toMatchObject({ role: 'operator' });
  expect(await holderOf(await tokenIn(dataDir, 'driver'))).toMatchObject({ role: 'driver' });
});

test('a new token replaces one whose file was lost, under the same name, and the log says so', async () => {
  const dataDir = await newHome();
  await start(dataDir);
  const [lost, kept] = [await tokenIn(dataDir, 'driver'), await tokenIn(dataDir, 'operator')];
  const { id } = (await holderOf(lost))!;
  await unlink(join(dataDir, 'driver.token'));
  expect(await start(dataDir)).toEqual([expect.stringContaining('replaces the old one')]);
  expect(await holderOf(lost)).toBeUndefined();
  expect(await holderOf(await tokenIn(dataDir, 'driver'))).toEqual({ role: 'driver', id });
  expect(await holderOf(kept)).toMatchObject({ role: 'operator' });
});

test('a second data directory over the same database leaves the tokens of the first as they are', async () => {
  const [here, there] = [await newHome(), await newHome()];
  await start(here);
  await start(there);
  const operators = await Promise.all(
    [here, there].map(async (dataDir) => await holderOf(await tokenIn(dataDir, 'operator'))),
  );
  expect(new Set(operators.map((operator) => operator?.id)).size).toBe(2);
});

test('a token that was copied into another data directory is valid there and stays valid here', async () => {
  const [here, there] = [await newHome(), await newHome()];
  await start(here);
  await start(there);
  const token = await tokenIn(here, 'operator');
  await writeFile(join(there, 'operator.token'), token);
  await start(there);
  await start(here);
  expect(await holderOf(token)).toMatchObject({ role: 'operator' });
});

test('a file that holds no token of its kind stops the start and says what to do', async () => {
  const dataDir = await newHome();
  await start(dataDir);
  const driver = await tokenIn(dataDir, 'driver');
  await writeFile(join(dataDir, 'operator.token'), driver);
  await expect(start(dataDir)).rejects.toThrow(/operator\.token does not hold .* remove the file/);
  await writeFile(join(dataDir, 'operator.token'), '');
  await expect(start(dataDir)).rejects.toThrow(/operator\.token does not hold/);
});

test('a driver token may be limited to driver names, and is void once it is no longer configured', async () => {
  const dataDir = await newHome();
  await start(dataDir, { builders: ['builder'] });
  const token = await tokenIn(dataDir, 'builders');
  expect(await holderOf(token)).toMatchObject({ role: 'driver', driverNames: ['builder'] });
  await start(dataDir, { builders: ['builder', 'cloner'] });
  expect(await tokenIn(dataDir, 'builders')).toBe(token);
  expect(await holderOf(token)).toMatchObject({ driverNames: ['builder', 'cloner'] });
  expect(await start(dataDir)).toEqual([expect.stringContaining('no longer configured')]);
  expect(await holderOf(token)).toBeUndefined();
  expect(await holderOf(await tokenIn(dataDir, 'driver'))).toMatchObject({ role: 'driver' });
});

test.each(['operator', 'driver', '../etc', ''])('a limited token cannot be named %j', async (name) => {
  await expect(start(await newHome(), { [name]: ['builder'] })).rejects.toThrow('cannot name a driver token');
});

test('a token that nobody holds is not found, and one that is made later is valid at once', async () => {
  const dataDir = await newHome();
  const reader = createTokenReader(pools);
  expect(await reader.authenticateToken('')).toBeUndefined();
  expect(await reader.authenticateToken(`cvop_${'A'.repeat(43)}`)).toBeUndefined();
  await start(dataDir);
  const token = await tokenIn(dataDir, 'operator');
  expect(await reader.authenticateToken(token)).toMatchObject({ role: 'operator' });
  expect(await reader.authenticateToken(`${token.slice(0, -1)}${token.endsWith('A') ? 'E' : 'A'}`)).toBeUndefined();
});

test('who holds a token is remembered for some seconds, so that calls do not ask the database each time', async () => {
  const dataDir = await newHome();
  await start(dataDir);
  const token = await tokenIn(dataDir, 'driver');
  const reader = createTokenReader(pools);
  const { id } = (await reader.authenticateToken(token))!;
  await pools.pool.query('delete from tokens where id = $1', [id]);
  expect(await reader.authenticateToken(token)).toMatchObject({ id });
  expect(await holderOf(token)).toBeUndefined();
});
