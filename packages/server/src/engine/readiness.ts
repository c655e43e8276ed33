// Which connected instances of drivers would take the jobs of a plan now.
import { mayTake, placementOf } from '../core/placement.ts';
import { isDriven, type PlannedJob } from '../core/plan.ts';
import { mentionsTemplate } from '../core/expressions/template.ts';
import type { FieldViolation } from '../core/refusal.ts';
import { compileSchema, type Schema } from '../core/json-schema.ts';
import type { JsonObject } from '../core/json.ts';
import type { JobPrediction } from '../core/prediction.ts';
import type { DriverReadiness, PlannedJobView } from '../core/run-plan.ts';
import { type ConnectedInstances, connectedInstances } from '../store/plan-rows.ts';
import { loadSchemas, type SchemaRef } from '../store/spec-schemas.ts';
import type { Tx } from '../store/sql.ts';
import { checkBounded } from './bounded-check.ts';

/** Different schemas of one driver that are looked at; instances with any other are taken to accept everything. */
const MAX_SCHEMAS = 20;

interface Instances extends ConnectedInstances {
  readonly schema: Schema | undefined;
}

export interface Readiness {
  /** Adds to a job who would take it. To be called once for each job. */
  look(job: JobPrediction): PlannedJobView;
  /** What was found once all jobs were looked at: drivers by name, and warnings. */
  drivers(): readonly DriverReadiness[];
  warnings(): readonly string[];
}

/** Reads which instances of these drivers are connected. */
export async function readReadiness(tx: Tx, jobs: readonly JobPrediction[]): Promise<Readiness> {
  const drivers = new Set(jobs.flatMap(({ job }) => (isDriven(job) ? [job.definition.driver] : [])));
  const byDriver = Map.groupBy(await connectedInstances(tx, [...drivers]), ({ driver }) => driver);
  const refs = [...byDriver].flatMap(([driver, all]) =>
    [...new Set(all.flatMap(({ digest }) => digest ?? []))].slice(0, MAX_SCHEMAS).map((digest) => ({ driver, digest })),
  );
  const schemas = await readSchemas(tx, refs);
  const connected = new Map(
    [...byDriver].map(([driver, all]) => [
      driver,
      all.map((some) => ({ ...some, schema: schemas.get(`${driver}/${some.digest}`) })),
    ]),
  );
  return createReadiness([...drivers].sort(), connected);
}

/** Which of the schemas of a driver, by their digests, take a spec; what nobody can know is taken. */
export async function readAccepting(
  tx: Tx,
  driver: string,
  digests: readonly string[],
  spec: JsonObject | undefined,
): Promise<(digest: string) => boolean> {
  const refs = digests.slice(0, MAX_SCHEMAS).map((digest) => ({ driver, digest }));
  const accepting = new Map([...(await readSchemas(tx, refs))].map(([id, schema]) => [id, accepts(schema, spec)]));
  return (digest) => accepting.get(`${driver}/${digest}`) ?? true;
}

async function readSchemas(tx: Tx, refs: readonly SchemaRef[]): Promise<ReadonlyMap<string, Schema | undefined>> {
  const loaded = await loadSchemas(tx, refs);
  return new Map(
    loaded.map(({ driver, digest, body }) => [`${driver}/${digest}`, compileSchema([], 'spec_schema', body)]),
  );
}

function createReadiness(drivers: readonly string[], connected: ReadonlyMap<string, readonly Instances[]>): Readiness {
  const asking = new Map<string, number>();
  const untaken = new Map<string, string[]>();

  return {
    look(job) {
      const { driver } = job.job.definition;
      if (!isDriven(job.job) || (job.fate !== 'RUNS' && job.fate !== 'UNKNOWN')) return job;
      asking.set(driver, (asking.get(driver) ?? 0) + 1);
      const all = connected.get(driver) ?? [];
      const placement = placementOf(job.job.definition);
      const spec = specOf(job);
      const accepted = new Map([...new Set(all.map(({ schema }) => schema))].map((one) => [one, accepts(one, spec)]));
      const accepting = all.filter((some) => accepted.get(some.schema) === true && mayTake(some, placement));
      if (all.length > 0 && accepting.every(({ draining }) => draining)) {
        const names = untaken.get(driver);
        if (names === undefined) untaken.set(driver, [job.job.name]);
        else names.push(job.job.name);
      }
      return { ...job, readyInstances: sum(accepting, readyOf) };
    },
    drivers: () =>
      drivers.map((name) => {
        const all = connected.get(name) ?? [];
        const jobs = asking.get(name) ?? 0;
        return {
          name,
          connected: sum(all, ({ count }) => count),
          ready: sum(all, readyOf),
          freeSlots: sum(all, (some) => readyOf(some) * (some.slots - some.held)),
          jobs,
        };
      }),
    warnings: () => [
      ...drivers
        .filter((driver) => asking.has(driver) && !connected.has(driver))
        .map((driver) => `no instance of driver ${driver} is connected: what asks for it waits until one is`),
      ...[...untaken].map(([driver, jobs]) => noTaker(driver, jobs)),
    ],
  };
}

function sum(instances: readonly Instances[], of: (some: Instances) => number): number {
  return instances.reduce((total, some) => total + of(some), 0);
}

/** Those that have a free slot and do not drain. */
function readyOf({ draining, slots, held, count }: Instances): number {
  return !draining && slots > held ? count : 0;
}

/** Undefined: it cannot be known before the job is ready. */
function specOf({ job, spec }: JobPrediction): JsonObject | undefined {
  return spec ?? (mentionsSpec(job) ? undefined : job.definition.spec);
}

function mentionsSpec({ definition }: PlannedJob): boolean {
  return mentionsTemplate(definition.spec);
}

function accepts(schema: Schema | undefined, spec: JsonObject | undefined): boolean {
  if (schema === undefined || spec === undefined) return true;
  const found: FieldViolation[] = [];
  checkBounded(schema, found, 'spec', spec);
  return found.length === 0;
}

function noTaker(driver: string, [first, ...more]: readonly string[]): string {
  const jobs = more.length === 0 ? `job ${first}` : `job ${first} and ${more.length} more`;
  return `no connected instance of driver ${driver} would take ${jobs}: each drains, does not accept the spec, or lacks labels or a pool`;
}
