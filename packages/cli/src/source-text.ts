// Owns the text of a file: of bounded size, valid UTF-8, and without the control characters that YAML does not allow.

/** What is wrong with a text, and where. */
export interface TextProblem {
  readonly line: number;
  readonly column: number;
  readonly problem: string;
}

/** Says that a file is too large. */
export function tooLargeText(bytes: number | undefined, max: number): string {
  const limit = `at most ${max / 1_048_576} MiB are read, and a definition has at most 1 MiB as JSON`;
  return bytes === undefined ? `is too large: ${limit}` : `has ${(bytes / 1_048_576).toFixed(1)} MiB: ${limit}`;
}

/** Decodes a source, without its byte order mark. */
export function decodeText(source: string | Uint8Array, maxBytes: number): string | TextProblem {
  const size = typeof source === 'string' ? Buffer.byteLength(source) : source.length;
  if (size > maxBytes) return problemAfter('', tooLargeText(size, maxBytes));
  const decoded = typeof source === 'string' ? source : decodeUtf8(source);
  if (typeof decoded !== 'string') return decoded;
  const text = decoded.replace(/^\uFEFF/, '');
  // eslint-disable-next-line no-control-regex
  const [control] = /[\0-\x08\x0B\x0C\x0E-\x1F]/.exec(text) ?? [];
  if (control === undefined) return text;
  const code = control.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
  const problem = `holds the control character U+${code}; in double quotes it can be written as "\\u${code}"`;
  return problemAfter(text.slice(0, text.indexOf(control)), problem);
}

function decodeUtf8(bytes: Uint8Array): string | TextProblem {
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    return problemAfter('', 'is UTF-16; save it as UTF-8');
  }
  const whole = decodePrefix(bytes, bytes.length, false);
  if (whole !== undefined) return whole;
  // The longest beginning that is valid, but perhaps for a character that it cuts.
  let [valid, invalid] = [0, bytes.length + 1];
  while (invalid - valid > 1) {
    const middle = Math.floor((valid + invalid) / 2);
    if (decodePrefix(bytes, middle, true) === undefined) invalid = middle;
    else valid = middle;
  }
  const before = decodePrefix(bytes, valid, true) ?? '';
  const byte = bytes[Buffer.byteLength(before)]?.toString(16).toUpperCase().padStart(2, '0');
  const problem =
    valid === bytes.length ? 'ends within a character' : `is not UTF-8: the byte 0x${byte} fits nowhere here`;
  return problemAfter(before, problem);
}

function decodePrefix(bytes: Uint8Array, length: number, mayBeCut: boolean): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes.subarray(0, length), {
      stream: mayBeCut,
    });
  } catch {
    return undefined;
  }
}

function problemAfter(before: string, problem: string): TextProblem {
  const lines = before.split('\n');
  return { line: lines.length, column: (lines.at(-1)?.length ?? 0) + 1, problem };
}
