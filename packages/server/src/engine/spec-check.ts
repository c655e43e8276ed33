// Whether the specs of a definition fit what their drivers publish. Instances of a driver may differ, so a spec has to fit one of
// their schemas, not all.
import { addViolation, DRIVER_NAME, type Found, howManyMore } from '../core/check-fields.ts';
import type { Definition, JobDefinition } from '../core/definition.ts';
import type { Schema } from '../core/json-schema.ts';
import type { JsonObject } from '../core/json.ts';
import type { FieldViolation, Refusal } from '../core/refusal.ts';
import { mentionsTemplate } from '../core/expressions/template.ts';
import { isDriven, type Plan } from '../core/plan.ts';
import type { RunFacts } from '../core/run-state.ts';
import { checkBounded, createCheckTime, MAX_CHECKS_MS } from './bounded-check.ts';
import type { DriverSchemas } from './driver-schemas.ts';
import { createTurns } from './pace.ts';

export interface SpecFindings {
  /** Why specs fit none of the schemas of their driver. */
  readonly violations: readonly FieldViolation[];
  /** What could not be checked, for people. */
  readonly warnings: readonly string[];
}

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
    const unchecked = definition.jobs.filter((job) => accepted.get(job.driver) === 'UNKNOWN');
    const warnings = [...Map.groupBy(unchecked, (job) => job.driver)].map(neverConnected);
    if (left > 0) {
      warnings.push(
        `the specs of the last ${left} jobs were not checked: those before took longer than ${MAX_CHECKS_MS / 1_000} s`,
      );
    }
    return { violations, warnings };
  };
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

function neverConnected([driver, [first, ...more]]: [string, JobDefinition[]]): string {
  const jobs = more.length === 0 ? `job ${first?.name}` : `job ${first?.name} and ${more.length} more`;
  return `driver ${driver} has never connected: the spec of ${jobs} is not checked until it does`;
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
