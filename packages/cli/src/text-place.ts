// Owns places inside of a text of a YAML file: where a part of its value stands in the source. Only what stands there as it is has one.

/**
 * Where a place in the value of a text stands in the source, both in UTF-16 units; undefined where that cannot be told exactly: after
 * an escape, in a folded text.
 * @param begin Where the text begins, with its quote or header.
 */
export function placeInText(source: string, begin: number, value: string, offset: number): number | undefined {
  const before = value.slice(0, offset);
  switch (source.charAt(begin)) {
    case '|':
      return placeInBlock(source, begin, value, offset);
    case '>':
      return undefined;
    case "'":
      return placeOnLine(source, begin + 1, before.replaceAll("'", "''"));
    case '"':
      // What stands for a backslash begins with one.
      return before.includes('\\') ? undefined : placeOnLine(source, begin + 1, before);
    default:
      return placeOnLine(source, begin, before);
  }
}

function placeOnLine(source: string, begin: number, before: string): number | undefined {
  return source.startsWith(before, begin) ? begin + before.length : undefined;
}

/** The lines of a literal block are those of its value, each behind the same spaces. */
function placeInBlock(source: string, begin: number, value: string, offset: number): number | undefined {
  const before = value.slice(0, offset).split('\n');
  const index = before.length - 1;
  let from = begin;
  for (let line = 0; line <= index; line++) from = source.indexOf('\n', from) + 1;
  const [line = ''] = source.slice(from).split(/\r?\n/, 1);
  const text = value.split('\n')[index] ?? '';
  const column = before[index]?.length ?? 0;
  // An empty line says nothing of where it is.
  return text !== '' && line.endsWith(text) ? from + line.length - text.length + column : undefined;
}
