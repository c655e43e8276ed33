// Owns the step from text to the YAML library's document: exactly one document, of bounded depth, YAML 1.2 without tags of its own.
import { type CST, Composer, type Document, Lexer, type LineCounter, Parser } from 'yaml';
import { MAX_PROBLEMS } from './file-problem.ts';

/** What is wrong with the text, and where, in UTF-16 units. */
export interface SyntaxProblem {
  readonly offset: number;
  readonly message: string;
}

/** Reads the text as one document; answers with what is wrong with it when something is. */
export function composeYaml(text: string, lines: LineCounter, maxLevels: number): Document.Parsed | SyntaxProblem[] {
  const parsed = parseTokens(text, lines, maxLevels);
  if ('message' in parsed) return [parsed];
  const [document, another] = composeTokens(parsed);
  if (document === undefined) throw new Error('a stream without a document');
  const problems = [...document.errors, ...document.warnings]
    .slice(0, MAX_PROBLEMS)
    .map(({ pos, message }) => ({ offset: pos[0], message }));
  if (document.directives.yaml.version !== '1.2') {
    problems.push({ offset: 0, message: `is YAML ${document.directives.yaml.version}; write YAML 1.2` });
  }
  if (another !== undefined) {
    const message = 'holds a second document; write each into a file of its own';
    problems.push({ offset: another.range[0], message });
  }
  return problems.length > 0 ? problems : document;
}

/** The parts of a stream: a document and what stands around it, no more of them than problems are told. */
interface Parsed {
  readonly tokens: readonly CST.Token[];
  readonly end: number;
}

function parseTokens(text: string, lines: LineCounter, maxLevels: number): Parsed | SyntaxProblem {
  const tokens: CST.Token[] = [];
  let count = 0;
  const parser = new Parser(lines.addNewLine);
  const take = (parsed: Iterable<CST.Token>) => {
    for (const token of parsed) {
      tokens.push(token);
      if (token.type !== 'comment' && token.type !== 'newline' && token.type !== 'space') count++;
    }
  };
  for (const lexeme of new Lexer().lex(text)) {
    take(parser.next(lexeme));
    if (count > MAX_PROBLEMS) return { tokens, end: parser.offset };
    // The composer calls itself for each level, the parser does not; its stack also holds the document, and the scalar it is at.
    if (parser.stack.length > maxLevels + 2) {
      return { offset: parser.offset, message: `has more than ${maxLevels} levels of lists and mappings` };
    }
  }
  take(parser.end());
  return { tokens, end: text.length };
}

function composeTokens({ tokens, end }: Parsed): Document.Parsed[] {
  // Keys are compared by whoever reads the document: here each would be compared with each.
  const composer = new Composer({ intAsBigInt: true, uniqueKeys: false, schema: 'core', version: '1.2' });
  const { stackTraceLimit } = Error;
  try {
    // Each problem is an Error, and a file may have a million: their stacks would take gigabytes.
    Error.stackTraceLimit = 0;
    return [...composer.compose(tokens, true, end)];
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}
