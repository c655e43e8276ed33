import { expect, test } from 'vitest';
import { createRing } from './ring.ts';

const FOREVER_MS = 1_000_000;
const never = new AbortController().signal;

test('a wait ends at a ring, also at one that came before it, and once', async () => {
  const bell = createRing();
  bell.ring();
  await bell.wait(FOREVER_MS, never);
  let over = false;
  const waiting = bell.wait(FOREVER_MS, never).then(() => (over = true));
  await new Promise(setImmediate);
  expect(over).toBe(false);
  bell.ring();
  await waiting;
});

test('a wait ends after its time, and at an abort', async () => {
  const bell = createRing();
  await bell.wait(1, never);
  const stop = new AbortController();
  const waiting = bell.wait(FOREVER_MS, stop.signal);
  stop.abort();
  await waiting;
  await bell.wait(FOREVER_MS, stop.signal);
});
