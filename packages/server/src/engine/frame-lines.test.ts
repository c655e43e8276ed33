import { expect, test } from 'vitest';
import type { DriverFrame } from '../core/frames.ts';
import { frameBytes } from './frame-bytes.ts';
import { type Answered, createFrameLines } from './frame-lines.ts';

const AT_ONCE = 2_000;
const heartbeat: DriverFrame = { type: 'Heartbeat', seq: 1 };
const size = frameBytes(heartbeat);

/** What has begun, by name, each with what answers it. */
function begun() {
  const answers = new Map<string, Answered>();
  return {
    begin: (name: string) => (answered: Answered) => void answers.set(name, answered),
    names: () => [...answers.keys()],
    answer: (name: string) => answers.get(name)?.(),
  };
}

/** Lines whose writes are all under way. */
function withFullWrites() {
  const frames = begun();
  const lines = createFrameLines(Number.POSITIVE_INFINITY);
  for (let n = 0; n < AT_ONCE; n++) lines.write(heartbeat, frames.begin(`write ${n}`));
  return { frames, lines };
}

test('frames begin in order, so many at a time, and the next one when one is answered', () => {
  const frames = begun();
  const lines = createFrameLines(Number.POSITIVE_INFINITY);
  for (let n = 0; n < AT_ONCE + 2; n++) expect(lines.ask(heartbeat, frames.begin(String(n)))).toBe(true);
  expect(frames.names()).toHaveLength(AT_ONCE);
  frames.answer('7');
  expect(frames.names().at(-1)).toBe(String(AT_ONCE));
});

test('writes are not in the way of commands', () => {
  const { frames, lines } = withFullWrites();
  lines.ask(heartbeat, frames.begin('command'));
  expect(frames.names().at(-1)).toBe('command');
});

test('a command behind writes begins once every write before it has begun', () => {
  const { frames, lines } = withFullWrites();
  lines.write(heartbeat, frames.begin('last write'));
  lines.askBehindWrites(heartbeat, frames.begin('finish'));
  expect(frames.names()).not.toContain('finish');
  frames.answer('write 0');
  expect(frames.names().at(-1)).toBe('last write');
  frames.answer('write 1');
  expect(frames.names().at(-1)).toBe('finish');
});

test('what waits and what is under way keeps to the bound, and is free again once answered', () => {
  const frames = begun();
  const lines = createFrameLines(2 * size);
  expect(lines.ask(heartbeat, frames.begin('a'))).toBe(true);
  expect(lines.write(heartbeat, frames.begin('b'))).toBe(true);
  expect(lines.ask(heartbeat, frames.begin('c'))).toBe(false);
  expect(lines.askBehindWrites(heartbeat, frames.begin('c'))).toBe(false);
  frames.answer('b');
  expect(lines.ask(heartbeat, frames.begin('c'))).toBe(true);
  expect(frames.names()).toEqual(['a', 'b', 'c']);
});

test('what has not begun is forgotten', () => {
  const { frames, lines } = withFullWrites();
  lines.write(heartbeat, frames.begin('late'));
  lines.clear();
  frames.answer('write 0');
  expect(frames.names()).not.toContain('late');
});

test('a long line of frames that are answered at once does not grow the stack', () => {
  const frames = begun();
  const lines = createFrameLines(Number.POSITIVE_INFINITY);
  for (let n = 0; n < AT_ONCE; n++) lines.ask(heartbeat, frames.begin(String(n)));
  let answered = 0;
  for (let n = 0; n < 100_000; n++) {
    lines.ask(heartbeat, (done) => {
      answered++;
      done();
    });
  }
  frames.answer('0');
  expect(answered).toBe(100_000);
});
