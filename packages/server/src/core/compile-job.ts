// Compiles the expressions of a definition. What they may refer to is known here, and so are the fields that some of that has.
import { addViolation, type Found, quote } from './check-fields.ts';
import type { CheckWork } from './check-work.ts';
import type { Definition, JobDefinition, Matrix } from './definition.ts';
import { compileExpression, type Expression } from './expressions/expression.ts';
import type { Root, Scope } from './expressions/nodes.ts';
import { isOne } from './expressions/static-types.ts';
import { compileTemplateInSlices, type Shape, type Template } from './expressions/template.ts';
import type { JsonObject } from './json.ts';
import { type KnownTypes, typeInRun, typesForJob } from './known-types.ts';
import { LIMITS } from './limits.ts';
import type { MatrixValues } from './matrix.ts';
import { sharesIn } from './shares.ts';
import type { Slices } from './slices.ts';

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
/** What is known of a definition when it is created. What is undefined is not known. */
export interface Known {
  /** What the checks of the request may take. */
  readonly work: CheckWork;
  readonly env?: Definition['env'] | undefined;
  /** Those that its params can have. */
  readonly params?: readonly string[] | undefined;
  /** Those that its jobs can have, by the names of these. */
  readonly outputs?: ReadonlyMap<string, readonly string[]>;
  readonly types?: KnownTypes;
}

/**
 * 'stored' takes what can be known to be wrong: what was created before that was refused still runs. Its other mistakes fail when
 * they are worked out.
 */
export type Checked = 'stored' | Known;

/** What is compiled of a job; what has no expression is left out. */
export interface JobExpressions {
  readonly condition?: Expression;
  /** Of its spec, or of the params of its call. */
  readonly spec?: Template;
  readonly matrix?: Template;
  /** Of what it shares with others, as sharesIn has it. */
  readonly shares?: Template;
}

/** Compiles the expressions of a job, one at a time. Adds what is wrong with them to `found`, with paths under `field`. */
export function* compileJobInSlices(
  found: Found,
  field: string,
  job: JobDefinition,
  known: Checked,
): Slices<JobExpressions> {
  const { if: source, call } = job;
  const scope = jobScope(job, known);
  const condition = source === undefined ? undefined : compileExpression(found, `${field}.if`, source, scope);
  if (condition !== undefined && !isOne(condition.type, ['bool'])) {
    addViolation(
      found,
      `${field}.if`,
      `must be true or false; ${quote(condition.source)} is of type ${condition.type}`,
    );
  }
  const spec = call === undefined ? job.spec : call.params;
  const specField = call === undefined ? `${field}.spec` : `${field}.call.params`;
  const specTemplate = yield* compileTemplateInSlices(found, specField, spec, scope);
  const matrix =
    job.matrix &&
    (yield* compileTemplateInSlices(
      found,
      `${field}.matrix`,
      valuesOf(job.matrix),
      matrixScope(job, known),
      PUT_TOGETHER,
    ));
  if (known !== 'stored' && matrix !== undefined) checkLists(found, matrix.shape);
  // Together, so that they have one budget.
  const shares = yield* compileTemplateInSlices(found, field, sharesIn(job), scope);
  return {
    ...(condition !== undefined && { condition }),
    ...(specTemplate !== undefined && { spec: specTemplate }),
    ...(matrix !== undefined && { matrix }),
    ...(shares !== undefined && { shares }),
  };
}

/** Compiles the values that a definition names, an expression at a time. */
export function* compileEnvInSlices(
  found: Found,
  field: string,
  env: Definition['env'],
  known: Checked,
): Slices<Template | undefined> {
  return env === undefined
    ? undefined
    : yield* compileTemplateInSlices(found, field, { ...env }, envScope(known), PUT_TOGETHER);
}

/** Of the values that a definition names. */
function envScope(known: Checked): Scope {
  const scope = { roots: RUN_ROOTS, needs: [] };
  if (known === 'stored') return scope;
  const { work, types } = known;
  const typeAt = types && { typeAt: (path: readonly string[]) => typeInRun(types, path) };
  return { ...scope, fields: runFields(known), work, ...typeAt };
}

function runFields({ params }: Known): Fields {
  return { ...RUN_FIELDS, ...(params !== undefined && { params }) };
}

/** Of the matrix of a job. */
function matrixScope(job: JobDefinition, known: Checked): Scope {
  const { needs } = job;
  if (known === 'stored') return { roots: JOB_ROOTS, needs };
  const { env, outputs, types, work } = known;
  const fields: Fields = {
    ...runFields(known),
    needs: NEED_FIELDS,
    ...(env !== undefined && { env: Object.keys(env) }),
  };
  const typeAt = types && { typeAt: typesForJob(types, job, env) };
  return { roots: JOB_ROOTS, needs, fields, work, ...(outputs !== undefined && { outputs }), ...typeAt };
}

/** What an axis, and what is included and excluded, comes to has to be a list. */
function checkLists(found: Found, shape: Shape): void {
  if (shape.kind !== 'object') return;
  const members = new Map(shape.members);
  const axes = members.get('axes');
  const lists = axes?.kind === 'object' ? axes.members.map(([, axis]) => axis) : [];
  for (const list of [...lists, members.get('include'), members.get('exclude')]) {
    if (list?.kind === 'text') {
      addViolation(
        found,
        list.field,
        'must be a list: a text with an expression in it is a text; write the expression alone',
      );
    } else if (list?.kind === 'value' && !isOne(list.expression.type, ['list'])) {
      addViolation(
        found,
        list.field,
        `must be a list; ${quote(list.expression.source)} is of type ${list.expression.type}`,
      );
    }
  }
}

/** Of the condition, the spec and the params of a job. */
function jobScope(job: JobDefinition, known: Checked): Scope {
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
