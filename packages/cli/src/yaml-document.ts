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
  const tokens: CST.Token[] = [];
  const parser = new Parser(lines.addNewLine);
  for (const lexeme of new Lexer().lex(text)) {
    tokens.push(...parser.next(lexeme));
    // The composer calls itself for each level, the parser does not; its stack also holds the document, and the scalar it is at.
    if (parser.stack.length > maxLevels + 2) {
      const message = `has more than ${maxLevels} levels of lists and mappings`;
      return [{ offset: parser.offset, message }];
    }
  }
  tokens.push(...parser.end());
  // Keys are compared by whoever reads the document: here each would be compared with each.
  const composer = new Composer({ intAsBigInt: true, uniqueKeys: false, schema: 'core', version: '1.2' });
  const [document, another] = [...composer.compose(tokens, true, text.length)];
  if (document === undefined) throw new Error('a stream without a document');
  const problems = [...document.errors, ...document.warnings].map((e) => ({ offset: e.pos[0], message: e.message }));
  if (document.directives.yaml.version !== '1.2') {
    problems.push({ offset: 0, message: `is YAML ${document.directives.yaml.version}; write YAML 1.2` });
  }
  if (another !== undefined) {
    const message = 'holds a second document; write each into a file of its own';
    problems.push({ offset: another.range[0], message });
  }
  return problems.length > 0 ? problems.slice(0, MAX_PROBLEMS) : document;
}
