// What is wrong with a definition, all of it at once, and the definition with its defaults filled in. The bounds are those of
// pipeline.proto.
import {
  addViolation,
  checkCount,
  checkJson,
  checkLabels,
  checkName,
  checkNumber,
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
import { checkOutputsSchemas, checkParamsSchema } from './check-schemas.ts';
import type { JsonObject } from './json.ts';
import { LIMITS } from './limits.ts';
import { nearestName } from './nearest-name.ts';

/** A definition as it was written. What is undefined was not set; durations are in milliseconds and may be NaN. */
export interface DefinitionInput {
  readonly jobs: readonly JobInput[];
  readonly paramsSchema?: JsonObject | undefined;
  readonly labels: Readonly<Record<string, string>>;
}

export interface JobInput {
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
  readonly outputsSchema?: JsonObject | undefined;
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
const MAX_SHOWN_CYCLE = 10;
/** Looking for a misspelt name costs time for each name of the definition. */
const MAX_SUGGESTIONS = 10;

/** Adds what is wrong to `found`, with paths under `field`. The result is of use only when nothing was found. */
export function checkDefinition(found: Found, field: string, input: DefinitionInput): Definition {
  const { jobs, paramsSchema, labels } = input;
  if (jobs.length === 0) addViolation(found, `${field}.jobs`, `is required: 1 to ${LIMITS.jobsPerRun} jobs`);
  checkCount(found, `${field}.jobs`, jobs.length, LIMITS.jobsPerRun);
  checkLabels(found, `${field}.labels`, labels);
  if (paramsSchema !== undefined) checkParamsSchema(found, `${field}.params_schema`, paramsSchema);
  const checked = jobs.map((job, index) => checkJob(found, `${field}.jobs[${index}]`, job));
  checkOutputsSchemas(found, (index) => `${field}.jobs[${index}]`, jobs);
  checkGraph(found, `${field}.jobs`, jobs);
  const bytes = jsonBytes(input);
  if (bytes > LIMITS.definitionBytes) {
    addViolation(found, field, `must have at most ${LIMITS.definitionBytes} bytes as JSON; has ${bytes}`);
  }
  return { jobs: checked, labels, ...(paramsSchema !== undefined && { paramsSchema }) };
}

/** As checkDefinition, for a job that is a run by itself: it needs no other. */
export function checkLoneJob(found: Found, field: string, input: JobInput): Definition {
  if (input.needs.length > 0) addViolation(found, `${field}.needs`, 'must be empty: the job is a run by itself');
  checkOutputsSchemas(found, () => field, [input]);
  return { jobs: [checkJob(found, field, { ...input, needs: [] })], labels: {} };
}

function checkJob(found: Found, field: string, input: JobInput): JobDefinition {
  const { name, driver, spec = {}, needs, secrets, outputsSchema } = input;
  checkName(found, `${field}.name`, name, JOB_NAME);
  checkName(found, `${field}.driver`, driver, DRIVER_NAME);
  checkJson(found, `${field}.spec`, spec, LIMITS.specBytes);
  checkCount(found, `${field}.needs`, needs.length, LIMITS.needsPerJob);
  checkCount(found, `${field}.secrets`, secrets.length, LIMITS.secretsPerJob);
  for (const [index, secret] of secrets.entries()) {
    const secretField = `${field}.secrets[${index}]`;
    if (secret === '') addViolation(found, secretField, 'is required: 1 to 128 characters');
    checkText(found, secretField, secret, 128);
    if (secrets.indexOf(secret) < index) addViolation(found, secretField, `names ${quote(secret)} again`);
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
    ...(outputsSchema !== undefined && { outputsSchema }),
  };
}

const RUN_CONDITIONS: readonly RunCondition[] = ['SUCCESS', 'ALWAYS'];
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

function checkBounded(
  found: Found,
  field: string,
  value: number | undefined,
  fallback: number,
  bounds: { readonly min: number; readonly max: number; readonly integer?: boolean },
): number {
  if (value === undefined) return fallback;
  checkNumber(found, field, value, bounds);
  return value;
}

/** Whole milliseconds; a fraction of one counts as one. */
function checkDuration(
  found: Found,
  field: string,
  ms: number | undefined,
  { min, max, bounds }: { readonly min: number; readonly max: number; readonly bounds: string },
): number | undefined {
  if (ms === undefined) return undefined;
  if (!(ms >= min && ms <= max)) addViolation(found, field, `must be ${bounds}; got ${ms / 1_000} s`);
  return Math.ceil(ms);
}

function checkGraph(found: Found, field: string, jobs: readonly JobInput[]): void {
  const indexByName = new Map<string, number>();
  for (const [index, { name }] of jobs.entries()) {
    const first = indexByName.get(name);
    if (first === undefined) indexByName.set(name, index);
    else if (name !== '')
      addViolation(found, `${field}[${index}].name`, `${quote(name)} is also the name of ${field}[${first}]`);
  }
  let suggestions = 0;
  for (const [index, { needs }] of jobs.entries()) {
    const seen = new Set<string>();
    for (const [position, need] of needs.entries()) {
      const needField = `${field}[${index}].needs[${position}]`;
      if (seen.has(need)) addViolation(found, needField, `names ${quote(need)} again`);
      seen.add(need);
      if (indexByName.has(need)) continue;
      const near = suggestions++ < MAX_SUGGESTIONS ? nearestName(need, indexByName.keys()) : undefined;
      const hint = near === undefined ? '' : `; did you mean ${quote(near)}?`;
      addViolation(found, needField, `there is no job ${quote(need)}${hint}`);
    }
  }
  checkCycles(found, field, jobs, indexByName);
}

/** Walks the needs depth first, without recursion: a chain may be as long as the definition. */
function checkCycles(
  found: Found,
  field: string,
  jobs: readonly JobInput[],
  indexByName: ReadonlyMap<string, number>,
): void {
  const done = new Set<number>();
  for (const start of jobs.keys()) {
    /** The way from `start` to where the walk is, and which need of each job comes next. */
    const way = [{ job: start, next: 0 }];
    const onWay = new Map([[start, 0]]);
    for (let step = way.at(-1); step !== undefined; step = way.at(-1)) {
      const need = done.has(step.job) ? undefined : jobs[step.job]?.needs[step.next];
      if (need === undefined) {
        done.add(step.job);
        onWay.delete(step.job);
        way.pop();
        continue;
      }
      const position = step.next++;
      const needed = indexByName.get(need);
      if (needed === undefined || done.has(needed)) continue;
      const begin = onWay.get(needed);
      if (begin === undefined) {
        onWay.set(needed, way.length);
        way.push({ job: needed, next: 0 });
      } else {
        const names = way.slice(begin).map(({ job }) => jobs[job]?.name ?? '');
        addViolation(
          found,
          `${field}[${step.job}].needs[${position}]`,
          `closes a cycle: ${showCycle([...names, need])}`,
        );
      }
    }
  }
}

function showCycle(names: readonly string[]): string {
  if (names.length <= MAX_SHOWN_CYCLE) return names.join(' -> ');
  const half = MAX_SHOWN_CYCLE / 2;
  const left = names.length - MAX_SHOWN_CYCLE;
  return [...names.slice(0, half), `(${left} more)`, ...names.slice(-half)].join(' -> ');
}
