// Compiles the expressions of a definition. What they may refer to is known here, and so are the fields that some of that has.
import type { Found } from './check-fields.ts';
import type { CheckWork } from './check-work.ts';
import type { Definition, JobDefinition, Matrix } from './definition.ts';
import { compileExpression, type Expression } from './expressions/expression.ts';
import type { Root, Scope } from './expressions/nodes.ts';
import { compileTemplate, type Template } from './expressions/template.ts';
import type { JsonObject } from './json.ts';
import { LIMITS } from './limits.ts';
import type { MatrixValues } from './matrix.ts';
import { sharesIn } from './shares.ts';

const RUN_ROOTS: readonly Root[] = ['params', 'labels', 'trigger', 'run'];
const JOB_ROOTS: readonly Root[] = [...RUN_ROOTS, 'env', 'needs'];

type Fields = Scope['fields'] & object;

const RUN_FIELDS: Fields = {
  trigger: ['kind', 'actor', 'reference'],
  run: ['id', 'project', 'pipeline', 'revision', 'status'],
};
const NEED_FIELDS: readonly string[] = ['outcome', 'conclusion', 'failure', 'outputs'];

/** Of several values that are put together: each may have as many levels as any. */
const PUT_TOGETHER = LIMITS.jsonLevels + 1;

/**
 * How an expression is compiled: 'stored' takes fields that there are none of, for what was created before these were refused
 * still runs; `env` has the values of the definition, where they are known.
 */
export type Known = 'stored' | { readonly env: Definition['env'] | undefined; readonly work: CheckWork };

/** What is compiled of a job; what has no expression is left out. */
export interface JobExpressions {
  readonly condition?: Expression;
  /** Of its spec, or of the params of its call. */
  readonly spec?: Template;
  readonly matrix?: Template;
  /** Of what it shares with others, as sharesIn has it. */
  readonly shares?: Template;
}

/** Compiles the expressions of a job. Adds what is wrong with them to `found`, with paths under `field`. */
export function compileJob(found: Found, field: string, job: JobDefinition, known: Known): JobExpressions {
  const { if: source, call } = job;
  const scope = jobScope(job, known);
  const condition = source === undefined ? undefined : compileExpression(found, `${field}.if`, source, scope);
  const spec = call === undefined ? job.spec : call.params;
  const specField = call === undefined ? `${field}.spec` : `${field}.call.params`;
  const specTemplate = compileTemplate(found, specField, spec, scope);
  const matrix =
    job.matrix &&
    compileTemplate(found, `${field}.matrix`, valuesOf(job.matrix), matrixScope(job, known), PUT_TOGETHER);
  // Together, so that they have one budget.
  const shares = compileTemplate(found, field, sharesIn(job), scope);
  return {
    ...(condition !== undefined && { condition }),
    ...(specTemplate !== undefined && { spec: specTemplate }),
    ...(matrix !== undefined && { matrix }),
    ...(shares !== undefined && { shares }),
  };
}

/** Compiles the values that a definition names. */
export function compileEnv(
  found: Found,
  field: string,
  env: Definition['env'],
  known: 'stored' | CheckWork,
): Template | undefined {
  return env === undefined ? undefined : compileTemplate(found, field, { ...env }, envScope(known), PUT_TOGETHER);
}

/** Of the values that a definition names. */
function envScope(known: 'stored' | CheckWork): Scope {
  return { roots: RUN_ROOTS, needs: [], ...(known !== 'stored' && { fields: RUN_FIELDS, work: known }) };
}

/** Of the matrix of a job. */
function matrixScope({ needs }: JobDefinition, known: Known): Scope {
  if (known === 'stored') return { roots: JOB_ROOTS, needs };
  const { env, work } = known;
  const fields: Fields = { ...RUN_FIELDS, needs: NEED_FIELDS, ...(env !== undefined && { env: Object.keys(env) }) };
  return { roots: JOB_ROOTS, needs, fields, work };
}

/** Of the condition, the spec and the params of a job. */
function jobScope(job: JobDefinition, known: Known): Scope {
  const scope = matrixScope(job, known);
  if (job.matrix === undefined) return scope;
  const roots: readonly Root[] = [...JOB_ROOTS, 'matrix'];
  const names = namesOf(job.matrix);
  if (scope.fields === undefined || names === undefined) return { ...scope, roots };
  return { ...scope, roots, fields: { ...scope.fields, matrix: names } };
}

/** What the cells of a matrix can have; undefined where an expression makes what is included. */
function namesOf({ axes, include = [] }: MatrixValues): readonly string[] | undefined {
  if (!Array.isArray(include)) return undefined;
  const names = new Set(Object.keys(axes));
  for (const entry of include) {
    if (typeof entry !== 'object' || entry === null) return undefined;
    for (const name of Object.keys(entry)) names.add(name);
  }
  return Array.from(names);
}

/** All that may hold expressions in a matrix, at the paths of the contract. */
function valuesOf({ axes, include, exclude, maxParallel }: Matrix): JsonObject {
  return {
    axes: { ...axes },
    ...(include !== undefined && { include }),
    ...(exclude !== undefined && { exclude }),
    ...(typeof maxParallel === 'string' && { max_parallel_expression: maxParallel }),
  };
}
