// Whether the specs of a definition fit what their drivers publish. Instances of a driver may differ, so a spec has to fit one of
// their schemas, not all.
import { addViolation, DRIVER_NAME, type Found, howManyMore, quote } from '../core/check-fields.ts';
import type { Definition } from '../core/definition.ts';
import type { Schema } from '../core/json-schema.ts';
import type { JsonObject } from '../core/json.ts';
import { nearestName } from '../core/nearest-name.ts';
import type { FieldViolation, Refusal, Warning } from '../core/refusal.ts';
import { mentionsTemplate } from '../core/expressions/template.ts';
import { isDriven, type Plan } from '../core/plan.ts';
import type { RunFacts } from '../core/run-state.ts';
import { checkBounded, createCheckTime, MAX_CHECKS_MS } from './bounded-check.ts';
import type { Accepted, DriverSchemas } from './driver-schemas.ts';
import { createTurns } from './pace.ts';

export interface SpecFindings {
  /** Why specs fit none of the schemas of their driver. */
  readonly violations: readonly FieldViolation[];
  /** What could not be checked, for people. */
  readonly warnings: readonly Warning[];
}

/** Drivers that are warned of, one by one. */
const MAX_WARNED = 100;
/** Looking for a misspelt name costs time for each driver. */
const MAX_SUGGESTIONS = 10;

/** Checks the spec of every job; `field` is the path, in the request, of what holds them, or empty. */
export type SpecCheck = (definition: Pick<Definition, 'jobs'>, field: string) => Promise<SpecFindings>;

export function createSpecCheck(schemas: DriverSchemas): SpecCheck {
  return async (definition, field) => {
    // A definition that something else is wrong with is checked as well; no driver has a name that is none.
    const drivers = definition.jobs.map(({ driver }) => driver).filter((driver) => DRIVER_NAME.pattern.test(driver));
    const accepted = await schemas.acceptedBy(new Set(drivers));
    const violations: Found = [];
    const path = field === '' ? 'jobs' : `${field}.jobs`;
    const turns = createTurns();
    const time = createCheckTime();
    let left = 0;
    for (const [index, { driver, spec }] of definition.jobs.entries()) {
      const takes = accepted.get(driver);
      if (typeof takes !== 'object') continue;
      if (time.isOver()) {
        left++;
        continue;
      }
      // What its expressions come to is checked when the job runs.
      const known = mentionsTemplate(spec) ? takes.map(({ ofKnown }) => ofKnown) : takes;
      const found = time.take(() => whyUnfit(known, `${path}[${index}].spec`, spec));
      for (const { field: wrong, description } of found) addViolation(violations, wrong, description);
      const turned = turns();
      if (turned !== undefined) await turned;
    }
    const warnings = await neverConnected(schemas, definition, path, accepted);
    if (left > 0) {
      const message = `the specs of the last ${left} jobs were not checked: those before took longer than ${MAX_CHECKS_MS / 1_000} s`;
      warnings.push({ field: path, message });
    }
    return { violations, warnings };
  };
}

/** A warning for each driver that nobody knows. */
async function neverConnected(
  schemas: DriverSchemas,
  { jobs }: Pick<Definition, 'jobs'>,
  path: string,
  accepted: ReadonlyMap<string, Accepted>,
): Promise<Warning[]> {
  const unknown = new Map<string, { readonly index: number; readonly job: string; more: number }>();
  for (const [index, { driver, name }] of jobs.entries()) {
    if (accepted.get(driver) !== 'UNKNOWN') continue;
    const known = unknown.get(driver);
    if (known === undefined) unknown.set(driver, { index, job: name, more: 0 });
    else known.more++;
  }
  if (unknown.size === 0) return [];
  const names = await schemas.names();
  const warnings: Warning[] = [];
  for (const [driver, { index, job, more }] of unknown) {
    if (warnings.length === MAX_WARNED) {
      const message = `${unknown.size - MAX_WARNED} other drivers have never connected either`;
      warnings.push({ field: path, message });
      break;
    }
    const near = warnings.length < MAX_SUGGESTIONS ? nearestName(driver, names) : undefined;
    const of = more === 0 ? `job ${job}` : `job ${job} and ${more} more`;
    const hint = near === undefined ? '' : `; did you mean ${quote(near)}?`;
    const message = `driver ${driver} has never connected: the spec of ${of} is not checked until it does${hint}`;
    warnings.push({ field: `${path}[${index}].driver`, message });
  }
  return warnings;
}

/** Why drivers of these names, as they are now, do not take a spec; to be asked within a decision, so nothing is read there. */
export async function specProblems(
  schemas: DriverSchemas,
  drivers: ReadonlySet<string>,
): Promise<NonNullable<RunFacts['whyUnfit']>> {
  const accepted = await schemas.acceptedBy(drivers);
  return (driver, spec) => {
    const takes = accepted.get(driver);
    return typeof takes === 'object' ? whyUnfit(takes, 'spec', spec) : [];
  };
}

/** The drivers of jobs whose specs are known only once their runs have worked them out. */
export function driversToAsk({ jobs }: Plan): ReadonlySet<string> {
  return new Set(jobs.flatMap((job) => (job.isPlain || !isDriven(job) ? [] : [job.definition.driver])));
}

/** What the newest schema says of a spec that fits none; empty when it fits one. */
function whyUnfit(schemas: readonly Schema[], field: string, spec: JsonObject): Found {
  let first: Found | undefined;
  for (const schema of schemas) {
    const found: Found = [];
    checkBounded(schema, found, field, spec);
    if (found.length === 0) return [];
    first ??= found;
  }
  return first ?? [];
}

/** Refuses a definition for its specs. */
export function specMismatch(violations: readonly FieldViolation[]): Refusal {
  const [first] = violations;
  const more = violations.length > 1 ? ` (and ${howManyMore(violations.length, 1)} more)` : '';
  return {
    refused: 'SPEC_MISMATCH',
    message: `${first?.field} ${first?.description}${more}: the driver's schema does not allow it`,
    violations,
  };
}
