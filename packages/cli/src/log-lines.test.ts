import { create } from '@bufbuild/protobuf';
import { LogChunkSchema } from '@conveyor/protocol/conveyor/v1/log_pb.js';
import { expect, it } from 'vitest';
import { writeLines } from './log-lines.ts';

/** What is written for a log that comes in these pieces. */
async function linesOf(...pieces: readonly (string | Uint8Array)[]): Promise<Buffer> {
  const written: Uint8Array[] = [];
  async function* parts() {
    for (const piece of pieces) yield { chunks: [create(LogChunkSchema, { data: Buffer.from(piece) })] };
  }
  await writeLines({ write: async (bytes) => void written.push(bytes) }, 'job | ', parts());
  return Buffer.concat(written);
}

it('puts the name of the job before each line, wherever the log was cut', async () => {
  expect((await linesOf('o', 'ne\ntw', 'o\n', '\nfour')).toString()).toBe('job | one\njob | two\njob | \njob | four\n');
});

it('writes nothing for an empty log', async () => expect(await linesOf('')).toHaveLength(0));

it('changes no byte of a line', async () => {
  const bytes = Buffer.from([0xff, 0x00, 0xc3, 0x0a]);
  expect(await linesOf(bytes)).toEqual(Buffer.concat([Buffer.from('job | '), bytes]));
});

it('breaks a line that is too long to be held', async () => {
  const written = (await linesOf('x'.repeat(70_000), 'y'.repeat(70_000))).toString().trimEnd().split('\n');
  const pieces = written.map((line) => line.slice('job | '.length));
  expect(pieces.join('')).toBe('x'.repeat(70_000) + 'y'.repeat(70_000));
  expect(Math.max(...pieces.map((piece) => piece.length))).toBe(65_536);
});

it('keeps a line whole that is exactly as long as a line may be', async () => {
  const line = 'z'.repeat(65_536);
  expect((await linesOf(line, '\nend\n')).toString()).toBe(`job | ${line}\njob | end\n`);
});
