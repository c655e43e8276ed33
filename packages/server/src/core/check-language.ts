// What is wrong with the parts of a definition that are worked out in a run: conditions, matrices, gates, calls, expressions anywhere.
import {
  addViolation,
  checkBounded,
  checkCount,
  checkDuration,
  checkJson,
  checkName,
  checkNumber,
  checkText,
  checkTextBytes,
  type Found,
  isFull,
  type NameRule,
  PIPELINE_NAME,
  quote,
} from './check-fields.ts';
import { type CheckWork, takeCharacters } from './check-work.ts';
import { checkBound } from './bounds.ts';
import { requiredWithoutDefault } from './gate-form.ts';
import { checkObjectSchema } from './check-schemas.ts';
import { compileEnvInSlices, compileJobInSlices, type Known } from './compile-job.ts';
import type { Gate, GateExpiry, JobDefinition, Matrix, PipelineCall } from './definition.ts';
import { mentionsTemplate } from './expressions/template.ts';
import { canonicalJson, type JsonObject, type JsonValue } from './json.ts';
import { LIMITS } from './limits.ts';
import { cellsOf } from './matrix.ts';
import { sharesIn } from './shares.ts';
import type { Slices } from './slices.ts';

export interface MatrixInput {
  readonly axes?: JsonObject | undefined;
  readonly include?: JsonValue | undefined;
  readonly exclude?: JsonValue | undefined;
  /** 0: not set. */
  readonly maxParallel: number;
  /** Undefined: not set. */
  readonly maxParallelExpression?: string | undefined;
  readonly failFast: boolean;
}

export interface GateInput {
  readonly message: string;
  readonly approvers: readonly string[];
  readonly quorum: number;
  readonly formSchema?: JsonObject | undefined;
  readonly timeoutMs?: number | undefined;
  readonly onTimeout?: string | undefined;
}

export interface CallInput {
  readonly pipeline: string;
  readonly revision: number;
  readonly params?: JsonObject | undefined;
}

/** A name that an expression can read after a dot. */
const VALUE_NAME: NameRule = {
  pattern: /^[A-Za-z_][A-Za-z0-9_]{0,62}$/,
  rule: '1 to 63 characters of A-Z a-z 0-9 _, not beginning with a digit',
};

export function checkCondition(found: Found, field: string, source: string | undefined): Pick<JobDefinition, 'if'> {
  if (source === undefined) return {};
  // How long it may be is told where it is compiled.
  checkText(found, field, source, Infinity);
  return { if: source };
}

export function checkMatrix(
  found: Found,
  field: string,
  input: MatrixInput | undefined,
): Pick<JobDefinition, 'matrix'> {
  if (input === undefined) return {};
  const { axes = {}, include, exclude, failFast } = input;
  const names = Object.keys(axes);
  checkCount(found, `${field}.axes`, names.length, LIMITS.matrixAxes);
  for (const name of names) checkName(found, `${field}.axes.${name}`, name, VALUE_NAME);
  if (names.length === 0 && include === undefined)
    addViolation(found, field, 'must have axes or include: it has no cells');
  const bound = {
    value: input.maxParallel === 0 ? undefined : input.maxParallel,
    expression: input.maxParallelExpression,
  };
  const maxParallel = checkBound(found, `${field}.max_parallel`, bound, LIMITS.matrixCells);
  const matrix: Matrix = {
    axes,
    ...(include !== undefined && { include }),
    ...(exclude !== undefined && { exclude }),
    ...(maxParallel !== undefined && { maxParallel }),
    ...(failFast && { failFast }),
  };
  const before = found.length;
  for (const [part, value] of Object.entries({ axes, include, exclude })) {
    if (value !== undefined) checkJson(found, `${field}.${part}`, value, LIMITS.definitionBytes);
  }
  if (found.length === before) checkCells(found, field, matrix);
  return { matrix };
}

/** What is known of its cells before a run: all of them, or at least how many there will be of the axes that are written out. */
function checkCells(found: Found, field: string, { axes, include, exclude }: Matrix): void {
  for (const [name, list] of Object.entries(axes)) {
    if (Array.isArray(list) || mentionsTemplate(list)) continue;
    addViolation(found, `${field}.axes.${name}`, 'must be a list of values, or an expression of one as ${{ … }}');
  }
  const written = Object.entries(axes).filter(([, list]) => !mentionsTemplate(list));
  const before = found.length;
  for (const [name, list] of written) checkTwice(found, `${field}.axes.${name}`, list);
  if (found.length > before) return;
  const isWhole = written.length === Object.keys(axes).length && !mentionsTemplate([include ?? [], exclude ?? []]);
  const values = isWhole
    ? { axes, ...(include !== undefined && { include }), ...(exclude !== undefined && { exclude }) }
    : { axes: Object.fromEntries(written.filter(([, list]) => Array.isArray(list))) };
  if (isWhole && written.some(([, list]) => !Array.isArray(list))) return;
  const cells = cellsOf(values);
  if (typeof cells === 'string') addViolation(found, field, cells);
}

/** Two equal values would make two equal cells. */
function checkTwice(found: Found, field: string, list: JsonValue): void {
  if (!Array.isArray(list)) return;
  const places = new Map<string, number>();
  for (const [index, value] of list.entries()) {
    const text = canonicalJson(value);
    const first = places.get(text);
    if (first === undefined) {
      places.set(text, index);
      continue;
    }
    addViolation(found, `${field}[${index}]`, `must not be there twice: ${quote(text)} is at ${first} already`);
    return;
  }
}

/** Adds to `found` when the matrices that are written out have more cells together than a run may have jobs. Each is a slice. */
export function* checkAllCells(
  found: Found,
  field: string,
  jobs: readonly Pick<JobDefinition, 'matrix'>[],
): Slices<void> {
  const matrices = jobs.flatMap(({ matrix }) => matrix ?? []);
  // To make them takes time for each of them; what is too much by itself is told elsewhere.
  if (matrices.length > LIMITS.matrices || jobs.length > LIMITS.jobsPerRun) return;
  let total = jobs.length;
  for (const { axes, include = [], exclude = [] } of matrices) {
    if (mentionsTemplate([{ ...axes }, include, exclude])) continue;
    yield;
    const cells = cellsOf({ axes, include, exclude });
    if (typeof cells !== 'string') total += cells.length;
  }
  if (total <= LIMITS.jobsPerRun) return;
  addViolation(found, field, `are ${total} with the cells of their matrices; at most ${LIMITS.jobsPerRun} are allowed`);
}

const EXPIRIES: readonly GateExpiry[] = ['FAIL', 'APPROVE', 'SKIP'];

export function checkGate(
  found: Found,
  field: string,
  input: GateInput | undefined,
  work: CheckWork,
): Pick<JobDefinition, 'gate'> {
  if (input === undefined) return {};
  const { message, approvers, quorum, formSchema, onTimeout = 'FAIL' } = input;
  checkTextBytes(found, `${field}.message`, message, LIMITS.messageBytes);
  if (mentionsTemplate(message)) {
    addViolation(
      found,
      `${field}.message`,
      'must not hold ${{: it is shown as it is, no expression in it is worked out',
    );
  }
  checkCount(found, `${field}.approvers`, approvers.length, LIMITS.gateApprovers);
  for (const [index, approver] of approvers.entries()) {
    if (approver === '') addViolation(found, `${field}.approvers[${index}]`, 'is required: 1 to 256 characters');
    checkText(found, `${field}.approvers[${index}]`, approver, 256);
  }
  if (quorum !== 0) checkNumber(found, `${field}.quorum`, quorum, { min: 1, max: LIMITS.gateQuorum, integer: true });
  if (formSchema !== undefined) checkObjectSchema(found, `${field}.form_schema`, formSchema, 'answers', work);
  const bounds = { min: 1_000, max: 365 * 86_400_000, bounds: '1 s to 365 days' };
  const timeoutMs = checkDuration(found, `${field}.timeout`, input.timeoutMs, bounds);
  const expiry = EXPIRIES.find((known) => known === onTimeout);
  if (expiry === undefined) {
    addViolation(found, `${field}.on_timeout`, `must be one of ${EXPIRIES.join(', ')}; got ${quote(onTimeout)}`);
  }
  if (expiry !== 'FAIL' && timeoutMs === undefined)
    addViolation(found, `${field}.on_timeout`, 'must not be set without timeout');
  const [left] = expiry === 'APPROVE' ? requiredWithoutDefault(formSchema) : [];
  if (left !== undefined) {
    const description = `must not be APPROVE: nobody fills in ${quote(left)} then, which the form requires: give it a default in form_schema`;
    addViolation(found, `${field}.on_timeout`, description);
  }
  const gate: Gate = {
    message,
    approvers,
    quorum: quorum === 0 ? 1 : quorum,
    ...(formSchema !== undefined && { formSchema }),
    ...(timeoutMs !== undefined && { timeoutMs }),
    onTimeout: expiry ?? 'FAIL',
  };
  return { gate };
}

export function checkCall(found: Found, field: string, input: CallInput | undefined): Pick<JobDefinition, 'call'> {
  if (input === undefined) return {};
  const { pipeline, revision, params = {} } = input;
  checkName(found, `${field}.pipeline`, pipeline, PIPELINE_NAME);
  if (revision !== 0)
    checkBounded(found, `${field}.revision`, revision, 1, { min: 1, max: 2_147_483_647, integer: true });
  checkJson(found, `${field}.params`, params, LIMITS.paramsBytes);
  const call: PipelineCall = { pipeline, params, ...(revision !== 0 && { revision }) };
  return { call };
}

export function* checkEnv(
  found: Found,
  field: string,
  env: Readonly<Record<string, string>>,
  known: Known,
): Slices<void> {
  const names = Object.keys(env);
  checkCount(found, field, names.length, LIMITS.envValues);
  if (names.length > LIMITS.envValues) return;
  for (const [name, value] of Object.entries(env)) {
    checkName(found, `${field}.${name}`, name, VALUE_NAME);
    checkTextBytes(found, `${field}.${name}`, value, LIMITS.envBytes);
  }
  yield* compileEnvInSlices(found, field, env, known);
}

/** How long the condition of a job and its texts with expressions are. */
function expressionsIn(job: JobDefinition): number {
  const { if: condition = '', spec, call, matrix } = job;
  const { axes = {}, include = [], exclude = [], maxParallel = 0 } = matrix ?? {};
  const parts = [spec, call?.params ?? {}, axes, include, exclude, maxParallel, sharesIn(job)];
  return parts.reduce(addTexts, condition.length);
}

function addTexts(length: number, value: JsonValue | Readonly<Record<string, JsonValue>>): number {
  if (typeof value === 'string') return length + (mentionsTemplate(value) ? value.length : 0);
  return typeof value === 'object' && value !== null ? Object.values(value).reduce(addTexts, length) : length;
}

/**
 * Lets others go on before each expression.
 * @param known Little more than nothing when only the run knows.
 * @param fields The path of each job, unless it is its index under `field`.
 */
export function* checkExpressions(
  found: Found,
  field: string,
  jobs: readonly JobDefinition[],
  known: Known,
  fields?: readonly string[],
): Slices<void> {
  let matrices = 0;
  let length = 0;
  for (const [index, job] of jobs.entries()) {
    const path = fields?.[index] ?? `${field}[${index}]`;
    if (job.matrix !== undefined) matrices++;
    const own = expressionsIn(job);
    length += own;
    if (length > LIMITS.expressionCharacters) {
      const description = `the conditions and the texts with expressions have more than ${LIMITS.expressionCharacters} characters up to here`;
      addViolation(found, path, description);
      return;
    }
    if (isFull(found) || !takeCharacters(found, path, known.work, own)) return;
    yield;
    yield* compileJobInSlices(found, path, job, known);
  }
  if (matrices <= LIMITS.matrices) return;
  addViolation(found, field, `${matrices} jobs have a matrix; at most ${LIMITS.matrices} may`);
}
