import { expect, test } from 'vitest';
import { follow, type Reading } from './follow.ts';
import { createWakeUps } from './wake-ups.ts';

const nothing = { found: undefined, more: false };

/** Follows what `read` finds until the test is over. */
function following(read: () => Promise<Reading<string>>, options: { restMs?: number; signOfLifeMs?: number } = {}) {
  const stop = new AbortController();
  const wakeUps = createWakeUps();
  const subscription = wakeUps.subscribe('feed');
  const values = follow({ read, subscription, signal: stop.signal, ...options });
  return { values, stop, ring: () => wakeUps.ring('feed') };
}

test('reads again at once while there is more, then at each ring', async () => {
  const found = ['a', 'b'];
  let waits = 0;
  const { values, ring } = following(async () => {
    const next = found.shift();
    if (next === undefined) waits++;
    return { found: next, more: next !== undefined };
  });
  expect((await values.next()).value).toBe('a');
  expect((await values.next()).value).toBe('b');
  const third = values.next();
  await expect.poll(() => waits).toBe(1);
  found.push('c');
  ring();
  expect((await third).value).toBe('c');
});

test('finds within a second what nobody rang for', async () => {
  const unheard: string[] = [];
  let reads = 0;
  const { values } = following(async () => {
    reads++;
    return { found: unheard.shift(), more: false };
  });
  const first = values.next();
  await expect.poll(() => reads).toBe(1);
  unheard.push('late');
  const beganMs = performance.now();
  expect((await first).value).toBe('late');
  expect(performance.now() - beganMs).toBeLessThan(1_500);
});

test('gives a sign of life while nothing is found', async () => {
  const { values } = following(async () => nothing, { signOfLifeMs: 30 });
  expect(await values.next()).toEqual({ done: false, value: undefined });
  expect(await values.next()).toEqual({ done: false, value: undefined });
});

test('rests between reads however often it rings', async () => {
  let reads = 0;
  const { values, stop, ring } = following(
    async () => {
      if (reads++ < 50) setImmediate(ring);
      return nothing;
    },
    { restMs: 20 },
  );
  const beganMs = performance.now();
  const pending = values.next();
  await expect.poll(() => reads).toBeGreaterThanOrEqual(5);
  expect(performance.now() - beganMs).toBeGreaterThanOrEqual(4 * 20 - 5);
  stop.abort(new Error('enough'));
  await expect(pending).rejects.toThrow('enough');
});

test.each(['while it waits', 'before it reads'])('called off %s, throws why', async (when) => {
  let reads = 0;
  const { values, stop } = following(async () => {
    reads++;
    return nothing;
  });
  if (when === 'before it reads') stop.abort(new Error('called off'));
  const pending = values.next();
  if (when === 'while it waits') {
    await expect.poll(() => reads).toBe(1);
    stop.abort(new Error('called off'));
  }
  await expect(pending).rejects.toThrow('called off');
  expect(reads).toBe(when === 'while it waits' ? 1 : 0);
});

test('what a read throws ends it', async () => {
  const { values } = following(async () => Promise.reject(new Error('no database')));
  await expect(values.next()).rejects.toThrow('no database');
});
