// Gathers which instances of its driver could take a job, and what they hold, by what is stored: any replica tells the same.
import type { DriverFacts, InstanceFacts } from '../core/explain-instances.ts';
import { mentionsTemplate } from '../core/expressions/template.ts';
import { formatJobId, type JobKey, type RunId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import { mayTake, placementOf } from '../core/placement.ts';
import type { PlannedJob } from '../core/plan.ts';
import type { JobDetails } from '../core/run-state.ts';
import {
  heldAttempts,
  heldCounts,
  type HeldRow,
  type InstanceRow,
  instancesOfDriver,
  queuedAhead,
  returnedOffers,
} from '../store/explain-rows.ts';
import type { Tx } from '../store/sql.ts';
import { passOverMs } from './fit.ts';
import type { Plans } from './plans.ts';
import { readAccepting } from './readiness.ts';
import { loadContexts } from './run-context.ts';

/** Attempts that are looked at for the slots that they take. */
const MOST_HELD = 2_000;
/** Queued jobs that are counted. */
const MOST_AHEAD = 1_000;

export interface JobToTake {
  readonly key: JobKey;
  readonly nowMs: number;
  readonly details: JobDetails | undefined;
  /** Runs of which jobs may end with what else blocks the job. */
  readonly runIds: readonly RunId[];
}

export async function readDriverFacts(
  tx: Tx,
  plans: Plans,
  { definition }: PlannedJob,
  { key, nowMs, details, runIds }: JobToTake,
): Promise<DriverFacts> {
  const { driver, pool } = definition;
  const placement = placementOf(definition);
  const connected = await instancesOfDriver(tx, driver);
  const known = details?.spec ?? (mentionsTemplate(definition.spec) ? undefined : definition.spec);
  const differing = differingSchemas(connected);
  const accepts = differing.size === 0 ? undefined : await acceptance(tx, driver, connected, known);
  const rows = connected.map((row) => ({
    ...row,
    accepts: accepts === undefined || !differing.has(row.replica) || accepts(row),
  }));
  const fitting = rows.filter((row) => row.accepts && !row.draining && mayTake(row, placement));
  const numbers = fitting.map(({ no }) => no);
  const counts = numbers.length === 0 ? new Map<number, number>() : await heldCounts(tx, numbers);
  const returns = await returnedOffers(tx, key);
  const ahead = await queuedAhead(tx, key, MOST_AHEAD);
  const full = fitting.filter(({ no, slots }) => (counts.get(no) ?? 0) >= slots).map(({ no }) => no);
  const looked = pool === undefined ? full : numbers;
  const held =
    looked.length === 0 ? [] : await heldAttempts(tx, looked, pool === undefined ? runIds : undefined, MOST_HELD);
  const ofPool = pool === undefined ? new Set<HeldRow>() : await takingPool(tx, plans, held, pool);
  const taken = Map.groupBy(ofPool, ({ instance }) => instance);
  return {
    driver,
    placement,
    ahead,
    instances: rows.map(({ no, labels, pools, slots, draining, accepts: takes }): InstanceFacts => {
      const { count = 0, lastMs = 0 } = returns.get(no) ?? {};
      return {
        no,
        labels,
        pools,
        slots,
        draining,
        accepts: takes,
        held: counts.get(no) ?? 0,
        heldOfPool: taken.get(no)?.length ?? 0,
        ...(lastMs + passOverMs(count) > nowMs && { passedOverMs: lastMs + passOverMs(count) }),
      };
    }),
    held: held.map((row) => ({ instance: row.instance, job: formatJobId(row), ofPool: ofPool.has(row) })),
    caveats: [
      ...(known === undefined && differing.size > 0 ? ['SPEC' as const] : []),
      ...(pool !== undefined && held.length === MOST_HELD ? ['POOL' as const] : []),
    ],
  };
}

/** The replicas whose instances publish different schemas: only these look at specs. */
function differingSchemas(rows: readonly InstanceRow[]): ReadonlySet<string> {
  const byReplica = Map.groupBy(rows, ({ replica }) => replica);
  const differing = [...byReplica].filter(([, own]) => new Set(own.map(({ digest }) => digest)).size > 1);
  return new Set(differing.map(([replica]) => replica));
}

async function acceptance(
  tx: Tx,
  driver: string,
  rows: readonly InstanceRow[],
  spec: JsonObject | undefined,
): Promise<(row: InstanceRow) => boolean> {
  const accepting = await readAccepting(tx, driver, [...new Set(rows.flatMap(({ digest }) => digest ?? []))], spec);
  return ({ digest }) => digest === undefined || accepting(digest);
}

/** Those of the attempts that take a slot of the pool. */
async function takingPool(tx: Tx, plans: Plans, held: readonly HeldRow[], pool: string): Promise<ReadonlySet<HeldRow>> {
  const contexts = await loadContexts(tx, plans, [...new Set(held.map(({ runId }) => runId))]);
  return new Set(held.filter(({ runId, job }) => contexts.get(runId)?.plan.jobs[job]?.definition.pool === pool));
}
