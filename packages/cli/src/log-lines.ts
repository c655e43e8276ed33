// Owns logs of several jobs on one screen: whole lines, each behind the name of its job. Bytes of a line are never changed.
import type { LogPart } from '@conveyor/client';
import type { Terminal } from './terminal.ts';

/** A line longer than this is broken, so that a log without line ends holds little memory. */
const maxLineBytes = 65_536;
const lineFeed = 0x0a;

/** Writes a log, line by line behind a prefix; a last line without an end gets one. */
export async function writeLines(
  terminal: Pick<Terminal, 'write'>,
  prefix: string,
  parts: AsyncIterable<Pick<LogPart, 'chunks'>>,
): Promise<void> {
  const head = Buffer.from(prefix);
  let rest = Buffer.alloc(0);
  for await (const { chunks } of parts) {
    const data = Buffer.concat([rest, ...chunks.map((chunk) => chunk.data)]);
    const lines: Buffer[] = [];
    let begin = 0;
    for (;;) {
      const end = lineEnd(data, begin);
      if (end === undefined) break;
      lines.push(data.subarray(begin, end));
      begin = end;
    }
    rest = data.subarray(begin);
    await writeAll(terminal, head, lines);
  }
  if (rest.length > 0) await writeAll(terminal, head, [rest]);
}

/** Where the line that begins here ends, its end included; undefined while that is not known. */
function lineEnd(data: Buffer, begin: number): number | undefined {
  const found = data.indexOf(lineFeed, begin);
  if (found !== -1 && found - begin <= maxLineBytes) return found + 1;
  return data.length - begin > maxLineBytes ? begin + maxLineBytes : undefined;
}

async function writeAll(terminal: Pick<Terminal, 'write'>, head: Buffer, lines: readonly Buffer[]): Promise<void> {
  if (lines.length === 0) return;
  const ends = (line: Buffer) => (line.at(-1) === lineFeed ? [head, line] : [head, line, Buffer.from('\n')]);
  await terminal.write(Buffer.concat(lines.flatMap(ends)));
}
