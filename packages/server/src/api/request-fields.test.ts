import { expect, test } from 'vitest';
import { decodeInTurns } from './request-fields.ts';

test('others have their turn while a request is checked, and what was found is told at last', async () => {
  let turns = 0;
  let isOver = false;
  const count = (): void => {
    turns++;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  const checked = decodeInTurns(function* (found) {
    for (let slice = 0; slice < 3; slice++) {
      const untilMs = performance.now() + 25;
      while (performance.now() < untilMs);
      yield;
    }
    found.push({ field: 'turns', description: `were ${turns}` });
  });
  const { refusal } = await checked.then(
    () => ({ refusal: undefined }),
    (error: { refusal: object }) => error,
  );
  isOver = true;
  expect(turns).toBeGreaterThanOrEqual(3);
  expect(refusal).toMatchObject({ refused: 'INVALID_FIELD', violations: [{ field: 'turns' }] });
});
