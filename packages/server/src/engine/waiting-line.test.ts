import { expect, test } from 'vitest';
import { RefusedError } from '../core/refusal.ts';
import { createWaitingLine } from './waiting-line.ts';

const { signal } = new AbortController();
const refuse = (): RefusedError => new RefusedError({ refused: 'LIMIT_REACHED', message: 'too many' });

function gate(): { open: () => void; wait: () => Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { open: resolve, wait: () => promise };
}

test('so many are at work at a time, the others in the order in which they came', async () => {
  const takeTurn = createWaitingLine({ atATime: 2, inLine: 10, refuse });
  const gates = Array.from({ length: 5 }, gate);
  const begun: number[] = [];
  const all = gates.map(({ wait }, i) =>
    takeTurn(
      'a',
      async () => {
        begun.push(i);
        await wait();
        return i;
      },
      signal,
    ),
  );
  expect(begun).toEqual([0, 1]);
  gates[1]?.open();
  expect(await all[1]).toBe(1);
  await expect.poll(() => begun).toEqual([0, 1, 2]);
  for (const { open } of gates) open();
  expect(await Promise.all(all)).toEqual([0, 1, 2, 3, 4]);
  expect(begun).toEqual([0, 1, 2, 3, 4]);
});

test('who finds the line full is refused, and who leaves it makes room', async () => {
  const takeTurn = createWaitingLine({ atATime: 1, inLine: 1, refuse });
  const { open, wait } = gate();
  const first = takeTurn('a', wait, signal);
  const leaving = new AbortController();
  const second = takeTurn('a', async () => 'never', leaving.signal);
  await expect(takeTurn('a', async () => 'never', signal)).rejects.toThrow('too many');
  leaving.abort(new Error('called off'));
  await expect(second).rejects.toThrow('called off');
  const third = takeTurn('a', async () => 'at last', signal);
  open();
  await first;
  expect(await third).toBe('at last');
});

test('a turn ends with work that fails, and none is taken by who has gone already', async () => {
  const takeTurn = createWaitingLine({ atATime: 1, inLine: 0, refuse });
  await expect(takeTurn('a', () => Promise.reject(new Error('it broke')), signal)).rejects.toThrow('it broke');
  const gone = AbortSignal.abort(new Error('called off'));
  await expect(takeTurn('a', async () => 'never', gone)).rejects.toThrow('called off');
  expect(await takeTurn('a', async () => 'now', signal)).toBe('now');
});

test('owners have their turns, and one of each may wait however many of others do', async () => {
  const takeTurn = createWaitingLine({ atATime: 1, inLine: 2, refuse });
  const order: string[] = [];
  const work = (name: string) => async () => void order.push(name);
  const { open, wait } = gate();
  const first = takeTurn('a', wait, signal);
  const waiting = ['a1', 'a2', 'b1'].map((name) => takeTurn(name.charAt(0), work(name), signal));
  for (const owner of ['a', 'b']) await expect(takeTurn(owner, work('no'), signal)).rejects.toThrow('too many');
  open();
  await Promise.all([first, ...waiting]);
  expect(order).toEqual(['a1', 'b1', 'a2']);
});
