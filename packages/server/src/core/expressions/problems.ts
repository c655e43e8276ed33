// What is wrong with one expression, and where in its source.

export interface Problem {
  readonly description: string;
  /** In UTF-16 units of the source; undefined: all of it. */
  readonly offset?: number | undefined;
}

/** More than anybody reads. */
const MAX_PROBLEMS = 100;

export function addProblem(problems: Problem[], description: string, offset?: number): void {
  if (problems.length < MAX_PROBLEMS) problems.push({ description, offset });
}
