import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { createTerminal } from './terminal.ts';

const clear = '\r\u001B[K';

/** A screen that both streams write to. */
function screen(isTTY: boolean) {
  return Object.assign(new PassThrough(), { isTTY, columns: 20 });
}

async function shown(stream: PassThrough): Promise<string> {
  stream.end();
  return text(stream);
}

describe('the status line', () => {
  it('stays below what is written, and goes away at the end', async () => {
    const tty = screen(true);
    const terminal = createTerminal(tty, tty, {});
    terminal.status('1/2');
    await terminal.print('a line');
    terminal.note('a note');
    terminal.status('2/2');
    terminal.status('');
    await terminal.print('the end');
    expect(await shown(tty)).toBe(`1/2${clear}a line\n1/2${clear}a note\n1/2${clear}2/2${clear}the end\n`);
  });

  it('is never longer than a line', async () => {
    const tty = screen(true);
    createTerminal(tty, tty, {}).status('x'.repeat(100));
    expect(await shown(tty)).toBe('x'.repeat(19));
  });

  it('is not shown where there is no terminal', async () => {
    const [out, err] = [screen(false), screen(false)];
    const terminal = createTerminal(out, err, {});
    terminal.status('1/2');
    await terminal.print('a line');
    expect([await shown(out), await shown(err)]).toEqual(['a line\n', '']);
  });

  it('does not get into results that go elsewhere', async () => {
    const [out, err] = [screen(false), screen(true)];
    const terminal = createTerminal(out, err, {});
    terminal.status('1/2');
    await terminal.print('a line');
    expect([await shown(out), await shown(err)]).toEqual(['a line\n', '1/2']);
  });
});

describe('colours', () => {
  it.each([
    [true, {}, true],
    [false, {}, false],
    [true, { NO_COLOR: '1' }, false],
    [true, { NO_COLOR: '' }, true],
    [true, { TERM: 'dumb' }, false],
    [false, { FORCE_COLOR: '1' }, true],
  ])('terminal %s, %j: %s', (isTTY, env, expected) => {
    const terminal = createTerminal(screen(isTTY), screen(isTTY), env);
    expect(terminal.colors.isColorSupported).toBe(expected);
  });
});

it('waits for a slow reader', async () => {
  const out = new PassThrough({ highWaterMark: 4 });
  const terminal = createTerminal(out, out, {});
  let isWritten = false;
  const written = terminal.write(Buffer.from('more than fits')).then(() => (isWritten = true));
  await Promise.resolve();
  expect(isWritten).toBe(false);
  out.resume();
  await written;
});
