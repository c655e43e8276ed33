// Owns what is wrong with a file, and where: each problem has a line, a column and the path of its field.

/** A place in a file; lines and columns count from 1. */
export interface FilePlace {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** A field of a file, and where it stands. */
export interface FileField extends FilePlace {
  /** Its path, such as `jobs[2].needs[0]`; empty for the whole file. */
  readonly path: string;
}

/** One thing that is wrong with a file. */
export interface FileProblem extends FileField {
  readonly message: string;
}

/** More than anybody reads. */
export const MAX_PROBLEMS = 100;

/** Orders places of one file from its beginning to its end. */
export function byPlace(a: FilePlace, b: FilePlace): number {
  return a.line - b.line || a.column - b.column;
}

/** `FILE:LINE:COLUMN`. */
export function placeText({ file, line, column }: FilePlace): string {
  return `${file}:${line}:${column}`;
}

/** A problem as one line of text. */
export function problemText(problem: FileProblem): string {
  const { path, message } = problem;
  return `${placeText(problem)}: ${path === '' ? '' : `${path}: `}${message}`;
}

/** Problems as text, one a line. */
export function problemsText(problems: readonly FileProblem[]): string {
  return problems.map(problemText).join('\n');
}
