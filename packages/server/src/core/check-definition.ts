// What is wrong with a definition, all of it at once, and the definition with its defaults filled in. The bounds are those of
// pipeline.proto.
import {
  addViolation,
  checkBounded,
  checkCount,
  checkDuration,
  checkJson,
  checkLabels,
  checkName,
  checkText,
  DRIVER_NAME,
  type Found,
  JOB_NAME,
  jsonBytes,
  quote,
} from './check-fields.ts';
import {
  DEFAULT_RETRY,
  DEFAULT_TIMEOUTS,
  type Definition,
  type JobDefinition,
  type JobTimeouts,
  type LeaseDoubt,
  type RetryPolicy,
  type RunCondition,
} from './definition.ts';
import type { CheckWork } from './check-work.ts';
import { checkOutputsSchemas, checkParamsSchema, closedNames, outputNames } from './check-schemas.ts';
import type { JsonObject } from './json.ts';
import type { KnownOfRun } from './known-of-run.ts';
import { knownTypes, withJobs } from './known-types.ts';
import { LIMITS } from './limits.ts';
import { checkConcurrency, checkRateLimits, type ConcurrencyInput, type RateLimitInput } from './check-concurrency.ts';
import { checkGraph, checkNeedsCount } from './check-graph.ts';
import {
  type CallInput,
  checkAllCells,
  checkCall,
  checkCondition,
  checkEnv,
  checkExpressions,
  checkGate,
  checkMatrix,
  type GateInput,
  type MatrixInput,
} from './check-language.ts';
import { checkPlacement, type PlacementInput } from './check-placement.ts';
import { checkStages, needsOfStages } from './check-stages.ts';

/** A definition as it was written. What is undefined was not set; durations are in milliseconds and may be NaN. */
export interface DefinitionInput {
  readonly jobs: readonly JobInput[];
  readonly paramsSchema?: JsonObject | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly stages: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly failFast: boolean;
}

export interface JobInput extends PlacementInput {
  readonly name: string;
  readonly driver: string;
  readonly spec?: JsonObject | undefined;
  readonly needs: readonly string[];
  readonly when?: string | undefined;
  readonly retry?: RetryInput | undefined;
  readonly timeouts?: TimeoutsInput | undefined;
  readonly onLeaseDoubt?: string | undefined;
  readonly allowFailure: boolean;
  readonly secrets: readonly string[];
  readonly if?: string | undefined;
  readonly stage?: string | undefined;
  readonly matrix?: MatrixInput | undefined;
  readonly gate?: GateInput | undefined;
  readonly call?: CallInput | undefined;
  readonly outputsSchema?: JsonObject | undefined;
  readonly concurrency?: ConcurrencyInput | undefined;
  readonly rateLimits?: readonly RateLimitInput[] | undefined;
}

export interface RetryInput {
  readonly workload?: number | undefined;
  readonly driver?: number | undefined;
  readonly infrastructure?: number | undefined;
  readonly timeout?: number | undefined;
  readonly rejected?: number | undefined;
  readonly initialBackoffMs?: number | undefined;
  readonly maxBackoffMs?: number | undefined;
  readonly backoffFactor?: number | undefined;
  readonly jitter?: number | undefined;
}

export interface TimeoutsInput {
  readonly queueMs?: number | undefined;
  readonly offerMs?: number | undefined;
  readonly runMs?: number | undefined;
  readonly silenceMs?: number | undefined;
  readonly totalMs?: number | undefined;
  readonly cancelGraceMs?: number | undefined;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/**
 * Adds what is wrong to `found`, with paths under `field`. The result is of use only when nothing was found. Comes in slices: it may
 * take long.
 */
export function* checkDefinition(
  found: Found,
  field: string,
  input: DefinitionInput,
  work: CheckWork,
): Generator<undefined, Definition> {
  const { jobs, paramsSchema, labels, stages, env, failFast } = input;
  if (jobs.length === 0) addViolation(found, `${field}.jobs`, `is required: 1 to ${LIMITS.jobsPerRun} jobs`);
  checkCount(found, `${field}.jobs`, jobs.length, LIMITS.jobsPerRun);
  checkLabels(found, `${field}.labels`, labels);
  if (paramsSchema !== undefined) checkParamsSchema(found, `${field}.params_schema`, paramsSchema, work);
  const hasFewStages = checkStages(found, field, stages, jobs);
  const checked = needsOfStages(
    hasFewStages ? stages : [],
    yield* checkJobs(found, (index) => `${field}.jobs[${index}]`, jobs, work),
  );
  yield;
  checkNeedsCount(found, `${field}.jobs`, checked);
  yield* checkOutputsSchemas(found, (index) => `${field}.jobs[${index}]`, jobs, work);
  yield* checkGraph(found, `${field}.jobs`, checked);
  yield;
  yield* checkAllCells(found, `${field}.jobs`, checked);
  const types = knownTypes(paramsSchema, checked);
  const known = { env, params: closedNames(paramsSchema), outputs: outputNames(checked), types, work };
  yield* checkEnv(found, `${field}.env`, env, known);
  yield* checkExpressions(found, `${field}.jobs`, checked.map(withRealNeeds(checked)), known);
  yield;
  // As it is shown: with the needs that its stages stand for.
  const bytes = jsonBytes({
    ...input,
    jobs: jobs.map((job, index) => ({ ...job, needs: checked[index]?.needs ?? [] })),
  });
  if (bytes > LIMITS.definitionBytes) {
    const staged = stages.length === 0 ? '' : ', with the needs that its stages stand for';
    const description = `must have at most ${LIMITS.definitionBytes} bytes as JSON${staged}; has ${bytes}`;
    addViolation(found, field, description);
  }
  return {
    jobs: checked,
    labels,
    ...(paramsSchema !== undefined && { paramsSchema }),
    ...(stages.length > 0 && { stages }),
    ...(Object.keys(env).length > 0 && { env }),
    ...(failFast && { failFast }),
  };
}

/** As checkDefinition, for a job that is a run by itself: it needs no other. */
export function* checkLoneJob(
  found: Found,
  field: string,
  input: JobInput,
  work: CheckWork,
): Generator<undefined, Definition> {
  if (input.needs.length > 0) addViolation(found, `${field}.needs`, 'must be empty: the job is a run by itself');
  yield* checkOutputsSchemas(found, () => field, [input], work);
  const job = checkJob(found, field, { ...input, needs: [] }, work);
  yield* checkExpressions(found, '', [job], { env: {}, types: knownTypes(undefined, []), work }, [field]);
  return { jobs: [job], labels: {} };
}

/** As checkDefinition, for jobs that are appended to a run, which alone knows what they may need. Empty when they are too large to be looked at. */
export function* checkAppendedJobs(
  found: Found,
  field: string,
  jobs: readonly JobInput[],
  run: KnownOfRun,
  work: CheckWork,
): Generator<undefined, readonly JobDefinition[]> {
  if (jobs.length === 0) addViolation(found, field, `is required: 1 to ${LIMITS.jobsPerRun} jobs`);
  checkCount(found, field, jobs.length, LIMITS.jobsPerRun);
  if (found.length > 0) return [];
  const checked = yield* checkJobs(found, (index) => `${field}[${index}]`, jobs, work);
  for (const [index, { stage }] of checked.entries()) {
    if (stage === undefined) continue;
    addViolation(found, `${field}[${index}].stage`, 'must not be set: an appended job comes after what it needs');
  }
  yield* checkOutputsSchemas(found, (index) => `${field}[${index}]`, jobs, work);
  const outputs = new Map([...(run.outputs ?? []), ...outputNames(checked)]);
  const types = run.types && withJobs(run.types, checked);
  yield* checkExpressions(found, field, checked, { ...run, outputs, ...(types && { types }), work });
  const bytes = jsonBytes(checked);
  if (bytes <= LIMITS.definitionBytes) return checked;
  addViolation(
    found,
    field,
    `must have at most ${LIMITS.definitionBytes} bytes as JSON with every default; has ${bytes}`,
  );
  return [];
}

function* checkJobs(
  found: Found,
  field: (index: number) => string,
  jobs: readonly JobInput[],
  work: CheckWork,
): Generator<undefined, readonly JobDefinition[]> {
  const checked: JobDefinition[] = [];
  for (const [index, job] of jobs.entries()) {
    yield;
    checked.push(checkJob(found, field(index), job, work));
  }
  return checked;
}

function checkJob(found: Found, field: string, input: JobInput, work: CheckWork): JobDefinition {
  const { name, driver, spec = {}, needs, secrets, outputsSchema } = input;
  checkName(found, `${field}.name`, name, JOB_NAME);
  const isDriven = input.gate === undefined && input.call === undefined;
  if (isDriven && driver === '')
    addViolation(found, `${field}.driver`, `is required, or else gate or call: ${DRIVER_NAME.rule}`);
  else if (isDriven) checkName(found, `${field}.driver`, driver, DRIVER_NAME);
  else checkUndriven(found, field, input);
  checkJson(found, `${field}.spec`, spec, LIMITS.specBytes);
  checkCount(found, `${field}.needs`, needs.length, LIMITS.needsPerJob);
  checkCount(found, `${field}.secrets`, secrets.length, LIMITS.secretsPerJob);
  for (const [index, secret] of secrets.entries()) {
    const secretField = `${field}.secrets[${index}]`;
    if (secret === '') addViolation(found, secretField, 'is required: 1 to 128 characters');
    checkText(found, secretField, secret, 128);
    // Where an earlier one is takes time for each of them.
    if (index < LIMITS.secretsPerJob && secrets.indexOf(secret) < index)
      addViolation(found, secretField, `names ${quote(secret)} again`);
  }
  return {
    name,
    driver,
    spec,
    needs,
    when: checkChoice(found, `${field}.when`, input.when, RUN_CONDITIONS, 'SUCCESS'),
    retry: checkRetry(found, `${field}.retry`, input.retry ?? {}),
    timeouts: checkTimeouts(found, `${field}.timeouts`, input.timeouts ?? {}),
    onLeaseDoubt: checkChoice(found, `${field}.on_lease_doubt`, input.onLeaseDoubt, LEASE_DOUBTS, 'CONTINUE'),
    allowFailure: input.allowFailure,
    secrets,
    ...checkCondition(found, `${field}.if`, input.if),
    ...(input.stage !== undefined && { stage: input.stage }),
    ...checkMatrix(found, `${field}.matrix`, input.matrix),
    ...checkGate(found, `${field}.gate`, input.gate, work),
    ...checkCall(found, `${field}.call`, input.call),
    ...(outputsSchema !== undefined && { outputsSchema }),
    ...checkConcurrency(found, `${field}.concurrency`, input.concurrency),
    ...checkRateLimits(found, `${field}.rate_limits`, input.rateLimits ?? []),
    ...checkPlacement(found, field, input),
  };
}

/** What only a driver could use has no place in a job that none runs. */
function checkUndriven(found: Found, field: string, { gate, call, driver, spec, secrets, ...job }: JobInput): void {
  if (gate !== undefined && call !== undefined)
    addViolation(found, `${field}.call`, 'must not be set beside gate: a job is one thing');
  const kind = gate === undefined ? 'call' : 'gate';
  const used = {
    driver: driver !== '',
    spec: spec !== undefined,
    secrets: secrets.length > 0,
    retry: job.retry !== undefined,
    timeouts: job.timeouts !== undefined,
    outputs_schema: job.outputsSchema !== undefined,
    concurrency: job.concurrency !== undefined,
    rate_limits: (job.rateLimits ?? []).length > 0,
    selector: job.selector !== undefined,
    priority: job.priority !== undefined,
    pool: job.pool !== undefined,
    sticky_key: job.stickyKey !== undefined,
  };
  for (const [name, isUsed] of Object.entries(used)) {
    if (isUsed) addViolation(found, `${field}.${name}`, `must not be set: the job is a ${kind}, which no driver runs`);
  }
}

const RUN_CONDITIONS: readonly RunCondition[] = ['SUCCESS', 'ALWAYS', 'FAILURE', 'FINALLY'];
const LEASE_DOUBTS: readonly LeaseDoubt[] = ['CONTINUE', 'STOP'];

function checkChoice<T extends string>(
  found: Found,
  field: string,
  value: string | undefined,
  choices: readonly T[],
  fallback: T,
): T {
  if (value === undefined) return fallback;
  const choice = choices.find((known) => known === value);
  if (choice === undefined) addViolation(found, field, `must be one of ${choices.join(', ')}; got ${quote(value)}`);
  return choice ?? fallback;
}

function checkRetry(found: Found, field: string, input: RetryInput): RetryPolicy {
  const defaults = DEFAULT_RETRY;
  const budget = (name: string, value: number | undefined, fallback: number, max = 100): number =>
    checkBounded(found, `${field}.${name}`, value, fallback, { min: 0, max, integer: true });
  const backoff = (name: string, value: number | undefined, fallback: number): number =>
    checkDuration(found, `${field}.${name}`, value, { min: 0, max: DAY_MS, bounds: '0 s to 24 h' }) ?? fallback;
  return {
    budgets: {
      WORKLOAD: budget('workload', input.workload, defaults.budgets.WORKLOAD),
      DRIVER: budget('driver', input.driver, defaults.budgets.DRIVER),
      INFRASTRUCTURE: budget('infrastructure', input.infrastructure, defaults.budgets.INFRASTRUCTURE),
      TIMEOUT: budget('timeout', input.timeout, defaults.budgets.TIMEOUT),
      REJECTED: budget('rejected', input.rejected, defaults.budgets.REJECTED, 1_000),
    },
    initialBackoffMs: backoff('initial_backoff', input.initialBackoffMs, defaults.initialBackoffMs),
    maxBackoffMs: backoff('max_backoff', input.maxBackoffMs, defaults.maxBackoffMs),
    backoffFactor: checkBounded(found, `${field}.backoff_factor`, input.backoffFactor, defaults.backoffFactor, {
      min: 1,
      max: 10,
    }),
    jitter: checkBounded(found, `${field}.jitter`, input.jitter, defaults.jitter, { min: 0, max: 1 }),
  };
}

function checkTimeouts(found: Found, field: string, input: TimeoutsInput): JobTimeouts {
  const timeout = (name: string, value: number | undefined, max: number, longest: string): number | undefined =>
    checkDuration(found, `${field}.${name}`, value, { min: 1, max, bounds: `1 ms to ${longest}` });
  const silence = { min: 1_000, max: 365 * DAY_MS, bounds: '1 s to 365 days' };
  const queueMs = timeout('queue_timeout', input.queueMs, 365 * DAY_MS, '365 days');
  const offerMs = timeout('offer_timeout', input.offerMs, HOUR_MS / 6, '10 min');
  const runMs = timeout('run_timeout', input.runMs, 365 * DAY_MS, '365 days');
  const silenceMs = checkDuration(found, `${field}.silence_timeout`, input.silenceMs, silence);
  const totalMs = timeout('total_timeout', input.totalMs, 365 * DAY_MS, '365 days');
  const cancelGraceMs = timeout('cancel_grace_period', input.cancelGraceMs, HOUR_MS, '1 h');
  return {
    ...(queueMs !== undefined && { queueMs }),
    offerMs: offerMs ?? DEFAULT_TIMEOUTS.offerMs,
    ...(runMs !== undefined && { runMs }),
    ...(silenceMs !== undefined && { silenceMs }),
    ...(totalMs !== undefined && { totalMs }),
    cancelGraceMs: cancelGraceMs ?? DEFAULT_TIMEOUTS.cancelGraceMs,
  };
}

/** A job without needs that there are none of, which were told and are no help to who has misspelt a name. */
function withRealNeeds(jobs: readonly JobDefinition[]): (job: JobDefinition) => JobDefinition {
  const names = new Set(jobs.map(({ name }) => name));
  return (job) =>
    job.needs.every((need) => names.has(need)) ? job : { ...job, needs: job.needs.filter((need) => names.has(need)) };
}
