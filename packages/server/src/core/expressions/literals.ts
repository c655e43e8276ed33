// Where text literals of CEL end, so that what is inside of them is not taken for syntax.

/**
 * Where the literal that opens with the quote at `at` ends: behind its closing quote; undefined when nothing closes it.
 * @param at Of a quote that no backslash and no literal precedes.
 */
export function endOfLiteral(source: string, at: number): number | undefined {
  const quote = source.startsWith(`${source[at]}`.repeat(3), at) ? source.slice(at, at + 3) : source[at];
  if (quote === undefined) return undefined;
  const isRaw = /(?:^|[^A-Za-z0-9_])(?:[bB]?[rR]|[rR][bB])$/.test(source.slice(Math.max(0, at - 3), at));
  for (let place = at + quote.length; place < source.length; place++) {
    if (source[place] === '\\' && !isRaw) place++;
    else if (source.startsWith(quote, place)) return place + quote.length;
  }
  return undefined;
}

/** How deep brackets of all kinds are nested. Of what cannot be parsed it is a guess. */
export function bracketDepth(source: string): number {
  let depth = 0;
  let deepest = 0;
  for (let at = 0; at < source.length; at++) {
    switch (source.charAt(at)) {
      case '"':
      case "'":
        at = (endOfLiteral(source, at) ?? source.length) - 1;
        break;
      case '(':
      case '[':
      case '{':
        deepest = Math.max(deepest, ++depth);
        break;
      case ')':
      case ']':
      case '}':
        depth--;
        break;
    }
  }
  return deepest;
}
