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

/** Where the first literal begins that nothing closes, or not on its line; undefined: all are closed. */
export function unclosedLiteral(source: string): number | undefined {
  for (let at = 0; at < source.length; at++) {
    if (!isQuote(source.charAt(at))) continue;
    const end = endOfLiteral(source, at);
    if (end === undefined) return at;
    const isOfLines = source.startsWith(source.charAt(at).repeat(3), at);
    if (!isOfLines && source.slice(at, end).includes('\n')) return at;
    at = end - 1;
  }
  return undefined;
}

/** The source with quotes for all that its literals consist of, so that each character of syntax stays where it is. */
export function blankLiterals(source: string): string {
  let blank = '';
  for (let at = 0; at < source.length; at = blank.length) {
    if (isQuote(source.charAt(at))) blank += '"'.repeat((endOfLiteral(source, at) ?? source.length) - at);
    else blank += source.charAt(at);
  }
  return blank;
}

function isQuote(character: string): boolean {
  return character === '"' || character === "'";
}

/** How deep brackets of all kinds are nested. Of what cannot be parsed it is a guess. */
export function bracketDepth(source: string): number {
  let depth = 0;
  let deepest = 0;
  for (const character of blankLiterals(source)) {
    if ('([{'.includes(character)) deepest = Math.max(deepest, ++depth);
    else if (')]}'.includes(character)) depth--;
  }
  return deepest;
}
