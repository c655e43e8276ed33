// What a loop has begun, and what it does with what comes meanwhile.
import { setImmediate as turn } from 'node:timers/promises';
import { pino } from 'pino';
import { beforeEach, expect, test } from 'vitest';
import { createUnderWay, type Part, type Task, type UnderWay } from './under-way.ts';

const failed = 'it failed';
let logged: string[];
let underWay: UnderWay;
let begun: string[];

beforeEach(() => {
  [logged, begun] = [[], []];
  const log = pino({ level: 'warn' }, { write: (line: string) => void logged.push(line) });
  underWay = createUnderWay({ maxKeys: 2, maxParts: 2, failed, log });
});

/** A task that lasts until it is told to end. */
function lasting(key: string, part: Part, name = `${key}${part}`): Task & PromiseWithResolvers<void> {
  const end = Promise.withResolvers<void>();
  const work = async (): Promise<void> => {
    begun.push(name);
    await end.promise;
  };
  return { key, part, work, ...end };
}

test('one that lasts keeps waiting what is of its key, and nothing else', async () => {
  const [first, second, other] = [lasting('a', 1), lasting('a', 2), lasting('b', 1)];
  await underWay.begin([first]);
  await turn();
  await underWay.begin([second, other]);
  await turn();
  expect(begun).toEqual(['a1', 'b1']);
  expect([underWay.has('a', 2), underWay.has('b', 2), underWay.keys()]).toEqual([true, false, ['a', 'b']]);
  first.resolve();
  await expect.poll(() => begun).toEqual(['a1', 'b1', 'a2']);
});

test('what is begun again while it lasts is done once more, as it was said last', async () => {
  const first = lasting('a', 1);
  await underWay.begin([first]);
  await turn();
  for (const name of ['older', 'newer']) {
    const task = lasting('a', 1, name);
    task.resolve();
    await underWay.begin([task]);
  }
  first.resolve();
  await expect.poll(() => underWay.keys()).toEqual([]);
  expect(begun).toEqual(['a1', 'newer']);
});

test('of one key no more than may be are done at once', async () => {
  const tasks = [1, 2, 3].map((part) => lasting('a', part));
  await underWay.begin(tasks);
  await turn();
  expect(begun).toEqual(['a1', 'a2']);
  tasks.forEach(({ resolve }) => resolve());
  await expect.poll(() => begun).toEqual(['a1', 'a2', 'a3']);
});

test('when as many keys as may be are under way, another one waits for the end of one', async () => {
  const [first, second, third] = [lasting('a', 1), lasting('b', 1), lasting('c', 1)];
  let isIn = false;
  await underWay.begin([first, second]);
  const entering = underWay.begin([third]).then(() => (isIn = true));
  await turn();
  expect([isIn, begun]).toEqual([false, ['a1', 'b1']]);
  second.resolve();
  await entering;
  await expect.poll(() => begun).toEqual(['a1', 'b1', 'c1']);
});

test('what fails is logged once until something succeeds, and takes what waits behind it along', async () => {
  for (const isFirst of [true, false]) {
    const [failing, beside, behind] = [lasting('a', 1), lasting('a', 2), lasting('a', 3)];
    await underWay.begin([failing, beside, behind]);
    await turn();
    failing.reject(new Error('no'));
    await turn();
    // Not before the others of its round have ended.
    expect(underWay.has('a', 2)).toBe(true);
    beside.resolve();
    await expect.poll(() => underWay.keys()).toEqual([]);
    expect(begun.splice(0)).toEqual(['a1', 'a2']);
    expect(logged, String(isFirst)).toHaveLength(1);
  }
  expect(logged[0]).toContain(failed);
  const well = lasting('a', 1);
  well.resolve();
  await underWay.begin([well]);
  await expect.poll(() => underWay.keys()).toEqual([]);
  await underWay.begin([{ key: 'a', part: 1, work: () => Promise.reject(new Error('again')) }]);
  await expect.poll(() => logged).toHaveLength(2);
});

test('at the end what is under way is awaited, and what is in line is not begun', async () => {
  const [first, second] = [lasting('a', 1), lasting('a', 2)];
  await underWay.begin([first]);
  await turn();
  await underWay.begin([second]);
  let isSettled = false;
  const settled = underWay.settled().then(() => (isSettled = true));
  await turn();
  expect(isSettled).toBe(false);
  first.resolve();
  await settled;
  expect(begun).toEqual(['a1']);
});

test('an owner of many keys leaves some to others, and is told that some of its own were left', async () => {
  const log = pino({ level: 'silent' });
  const shared = createUnderWay({ maxKeys: 4, maxOfOwner: 2, maxParts: 1, failed, log });
  const ofOwner = (key: string, owner: string) => ({ ...lasting(key, 1), owner });
  const [first, ...others] = ['a', 'b', 'c'].map((key) => ofOwner(key, 'greedy'));
  expect(await shared.begin([first!, ...others])).toBe(true);
  expect(await shared.begin([ofOwner('d', 'modest')])).toBe(false);
  expect(shared.keys()).toEqual(['a', 'b', 'd']);
  // What comes for a key that is under way needs no other one.
  expect(await shared.begin([{ ...lasting('a', 2), owner: 'greedy' }])).toBe(false);
  first!.resolve();
  for (const task of others) task.resolve();
  await expect.poll(() => shared.has('b', 1)).toBe(false);
  expect(await shared.begin([ofOwner('c', 'greedy')])).toBe(false);
});
