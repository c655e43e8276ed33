// What a planned run assumes of its jobs. What nothing is assumed of succeeds, with outputs that nobody knows.
import { addViolation, checkJson, checkName, entryPath, type Found, OUTPUT_KEY } from './check-fields.ts';
import type { Definition, JobDefinition } from './definition.ts';
import type { JsonObject } from './json.ts';
import { LIMITS } from './limits.ts';
import { nearestName } from './nearest-name.ts';
import type { PlannedJob } from './plan.ts';
import type { FinishedJobState } from './states.ts';

export interface AssumedOutcome {
  readonly outcome: FinishedJobState;
  /** Undefined: nobody knows. */
  readonly outputs?: JsonObject;
}

/** By the name of a job or of a cell; that of a matrix is for those of its cells that have none of their own. */
export type Assumptions = ReadonlyMap<string, AssumedOutcome>;

const SUCCEEDS: AssumedOutcome = { outcome: 'SUCCEEDED' };

export function assumedOf(assumed: Assumptions, { name, definition }: PlannedJob): AssumedOutcome {
  return assumed.get(name) ?? assumed.get(definition.name) ?? SUCCEEDS;
}

/** Whether anything is assumed of a job. */
export function isAssumed(assumed: Assumptions, { name, definition }: PlannedJob): boolean {
  return assumed.has(name) || assumed.has(definition.name);
}

/** Checks that the jobs of a definition can end so. */
export function checkAssumptions(found: Found, field: string, { jobs }: Definition, assumed: Assumptions): void {
  const byName = new Map(jobs.map((job) => [job.name, job]));
  for (const [name, outcome] of assumed) {
    const path = entryPath(field, name);
    const job = byName.get(name) ?? matrixOf(byName, name);
    if (job !== undefined) checkOutcome(found, path, job, outcome);
    else addViolation(found, path, `names no job of the definition${hint(byName, name)}`);
  }
}

/** Outputs that are assumed of a success, where they are in the request, and the schema that they have to fit. */
export interface SchemedOutputs {
  readonly field: string;
  readonly outputs: JsonObject;
  readonly schema: JsonObject;
}

export function schemedOutputs(field: string, { jobs }: Definition, assumed: Assumptions): readonly SchemedOutputs[] {
  const byName = new Map(jobs.map((job) => [job.name, job]));
  return [...assumed].flatMap(([name, { outcome, outputs }]) => {
    const job = byName.get(name) ?? matrixOf(byName, name);
    const schema = job?.gate === undefined ? job?.outputsSchema : job.gate.formSchema;
    if (outcome !== 'SUCCEEDED' || outputs === undefined || schema === undefined) return [];
    return [{ field: `${entryPath(field, name)}.outputs`, outputs, schema }];
  });
}

/** The job that a cell of this name would be of. */
function matrixOf(byName: ReadonlyMap<string, JobDefinition>, name: string): JobDefinition | undefined {
  const at = name.indexOf('[');
  const group = at > 0 && name.endsWith(']') ? byName.get(name.slice(0, at)) : undefined;
  return group?.matrix === undefined ? undefined : group;
}

function hint(byName: ReadonlyMap<string, JobDefinition>, name: string): string {
  const near = nearestName(name, byName.keys());
  return near === undefined ? ': name a job, or a cell as test[linux]' : `; did you mean ${near}?`;
}

/** Whether the job is a gate that is skipped when nobody answers it in time. */
export function isSkippedByTime({ gate, timeouts: { totalMs } }: JobDefinition): boolean {
  if (gate?.timeoutMs === undefined || gate.onTimeout !== 'SKIP') return false;
  return totalMs === undefined || totalMs > gate.timeoutMs;
}

function checkOutcome(found: Found, field: string, job: JobDefinition, { outcome, outputs }: AssumedOutcome): void {
  const { gate, call } = job;
  if (outcome === 'SKIPPED' && !isSkippedByTime(job)) {
    const fix = 'a condition skips a job, so assume the outputs that it reads';
    addViolation(found, `${field}.outcome`, `must not be SKIPPED but for a gate whose timeout skips it: ${fix}`);
  }
  if (outputs === undefined) return;
  if (gate === undefined && call === undefined) {
    for (const key of Object.keys(outputs)) checkName(found, `${field}.outputs`, key, OUTPUT_KEY);
  } else if (outcome !== 'SUCCEEDED') {
    const what = gate === undefined ? 'call' : 'gate';
    addViolation(found, `${field}.outputs`, `must be left out: a ${what} has outputs only when it succeeds`);
  }
  const max = call === undefined ? LIMITS.outputBytes : LIMITS.gatheredOutputBytes;
  // Each output may have as many levels as any value.
  checkJson(found, `${field}.outputs`, outputs, max, LIMITS.jsonLevels + 1);
}
