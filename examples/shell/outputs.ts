// Owns the file by which a shell job says its outputs: lines `key=value`.
import { readFile, stat } from 'node:fs/promises';

/** More than all outputs of an attempt may be. */
const maxBytes = 128 * 1024;

/** Reads the outputs of `path`; a later line replaces an earlier one of the same key. Throws an Error that names a wrong line. */
export async function readOutputs(path: string): Promise<ReadonlyMap<string, string>> {
  const outputs = new Map<string, string>();
  const lines = (await readText(path)).split('\n');
  for (const [index, line] of lines.entries()) {
    if (line.trim() === '') continue;
    const equals = line.indexOf('=');
    if (equals < 1) throw new Error(`line ${index + 1} of $CONVEYOR_OUTPUT is not key=value`);
    outputs.set(line.slice(0, equals), line.slice(equals + 1));
  }
  return outputs;
}

async function readText(path: string): Promise<string> {
  const { size } = await stat(path);
  if (size > maxBytes) throw new Error(`$CONVEYOR_OUTPUT has ${size} bytes, at most ${maxBytes}`);
  return readFile(path, 'utf8');
}
