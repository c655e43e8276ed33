// JSON as data, and its canonical text: keys sorted, no white space, so that equal values have equal digests.

export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;
export type JsonObject = { [key: string]: JsonValue };

/** The canonical text of a value. Keys are sorted by UTF-16 code units, as in RFC 8785. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = membersOf(value).map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`);
  return `{${members.join(',')}}`;
}

const LONG_LIST = 100;
/** Of a definition, what is added to it has lists of cells and jobs. */
const LONG_LIST_LEVELS = 3;
const CHUNK_CHARACTERS = 65_536;

/** The canonical text of a value with long lists in it, in chunks: none takes long unless an item of such a list is large by itself. */
export function* canonicalChunks(value: unknown): Generator<string, void> {
  const written = { text: '' };
  yield* writeChunks(written, value);
  yield written.text;
}

function* writeChunks(written: { text: string }, value: unknown): Generator<string, void> {
  if (!hasLongList(value)) {
    written.text += canonicalJson(value);
    if (written.text.length < CHUNK_CHARACTERS) return;
    yield written.text;
    written.text = '';
    return;
  }
  const parts: readonly [start: string, part: unknown][] = Array.isArray(value)
    ? value.map((item) => ['', item ?? null])
    : membersOf(value).map(([key, member]) => [`${JSON.stringify(key)}:`, member]);
  written.text += Array.isArray(value) ? '[' : '{';
  for (const [index, [start, part]] of parts.entries()) {
    written.text += index === 0 ? start : `,${start}`;
    yield* writeChunks(written, part);
  }
  written.text += Array.isArray(value) ? ']' : '}';
}

/** Whether a value is a long list, or has one not far below. */
function hasLongList(value: unknown, levels = LONG_LIST_LEVELS): value is object {
  if (typeof value !== 'object' || value === null) return false;
  if (Array.isArray(value) && value.length > LONG_LIST) return true;
  return levels > 0 && Object.values(value).some((part) => hasLongList(part, levels - 1));
}

function membersOf(value: object): [string, unknown][] {
  return Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
}
