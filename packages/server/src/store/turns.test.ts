import { expect, test } from 'vitest';
import { inPieces, sendInTurns } from './turns.ts';

const rows = Array.from({ length: 2_500 }, (_, n) => n);

test('many rows are written by several statements, in order, and none by none', () => {
  const written: (readonly number[])[] = [];
  const write = async (some: readonly number[]): Promise<void> => {
    written.push(some);
  };
  for (const send of inPieces(rows, write)) void send();
  expect(written.map(({ length }) => length)).toEqual([1_000, 1_000, 500]);
  expect(written.flat()).toEqual(rows);
  expect([...inPieces([], write)]).toEqual([]);
});

test('no statement waits for the one before, and all are sent before it is told that one has failed', async () => {
  const answers = Array.from({ length: 3 }, () => Promise.withResolvers<void>());
  const sent: number[] = [];
  const done = sendInTurns(
    answers.map(({ promise }, n) => async () => {
      sent.push(n);
      for (const untilMs = performance.now() + 12; performance.now() < untilMs; );
      await promise;
    }),
  );
  answers[0]?.reject(new Error('first'));
  await expect(done).rejects.toThrow('first');
  expect(sent).toEqual([0, 1, 2]);
});

test('others go on between statements that take long to make', async () => {
  let turns = 0;
  const other = setInterval(() => turns++, 0);
  const busy = async (): Promise<void> => {
    for (const untilMs = performance.now() + 12; performance.now() < untilMs; );
  };
  await sendInTurns([busy, busy, busy, busy]);
  clearInterval(other);
  expect(turns).toBeGreaterThan(0);
});
