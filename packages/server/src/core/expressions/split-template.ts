// Finds the expressions in a text: `${{ expression }}`. Braces and quotes of CEL are followed, so that neither a map nor a text
// ends an expression; `$${{` stands for the characters `${{`.
import { endOfLiteral } from './literals.ts';

const OPEN = '${{';

export type Segment =
  | { readonly text: string }
  /** An expression without the spaces around it, and where in the text it begins. */
  | { readonly source: string; readonly offset: number };

/** Whether a text has anything to replace. */
export function hasTemplate(text: string): boolean {
  return text.includes(OPEN);
}

/** The texts and the sources of expressions, in order; where an expression begins that nothing ends. */
export function splitTemplate(text: string): readonly Segment[] | { readonly unclosedAt: number } {
  const segments: Segment[] = [];
  let literal = '';
  let from = 0;
  for (let open = text.indexOf(OPEN); open >= 0; open = text.indexOf(OPEN, from)) {
    if (text[open - 1] === '$' && open > from) {
      literal += text.slice(from, open - 1) + OPEN;
      from = open + OPEN.length;
      continue;
    }
    const end = endOfExpression(text, open + OPEN.length);
    if (end === undefined) return { unclosedAt: open };
    literal += text.slice(from, open);
    if (literal !== '') segments.push({ text: literal });
    literal = '';
    segments.push(sourceIn(text, open + OPEN.length, end));
    from = end + 2;
  }
  literal += text.slice(from);
  if (literal !== '') segments.push({ text: literal });
  return segments;
}

function sourceIn(text: string, from: number, end: number): Segment {
  const inside = text.slice(from, end);
  return { source: inside.trim(), offset: from + inside.length - inside.trimStart().length };
}

/** Where the `}}` is that ends an expression. */
function endOfExpression(text: string, from: number): number | undefined {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    switch (text.charAt(at)) {
      case '"':
      case "'": {
        const end = endOfLiteral(text, at);
        if (end === undefined) return undefined;
        at = end - 1;
        break;
      }
      case '{':
        depth++;
        break;
      case '}':
        if (depth > 0) depth--;
        else if (text[at + 1] === '}') return at;
        break;
    }
  }
  return undefined;
}
