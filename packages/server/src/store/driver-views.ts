// Driver instances as readers see them. Whether a lease is live is told by the database's clock, what an instance holds by the
// live attempts: neither is stored anywhere else.
import { type InferResult, sql } from 'kysely';
import type { DriverView, Page } from '../core/views.ts';
import { fetchPage, fetchRows, pageOf, tables } from './query.ts';
import type { Tx } from './sql.ts';

/** Reads one driver instance with its spec schema. */
export async function findDriver(tx: Tx, name: string, instance: string): Promise<DriverView | undefined> {
  const query = selectDrivers()
    .leftJoin('spec_schemas as s', (join) =>
      join.onRef('s.driver', '=', 'i.driver').onRef('s.digest', '=', 'i.schema_digest'),
    )
    .select('s.body as spec_schema')
    .where('i.driver', '=', name)
    .where('i.instance', '=', instance);
  const [row] = await fetchRows(tx, query);
  return row && { ...driverView(row), ...(row.spec_schema !== null && { specSchema: row.spec_schema }) };
}

export interface DriverPlace {
  readonly name: string;
  readonly instance: string;
}

export interface DriversQuery {
  /** Undefined: all. */
  readonly name: string | undefined;
  readonly includeGone: boolean;
  readonly size: number;
  readonly after: DriverPlace | undefined;
}

/** Lists driver instances by name and instance, without spec schemas. */
export async function listDrivers(tx: Tx, filter: DriversQuery): Promise<Page<DriverView>> {
  const { name, includeGone, size, after } = filter;
  const query = selectDrivers()
    .$if(name !== undefined, (all) => all.where('i.driver', '=', name ?? ''))
    .$if(!includeGone, (all) => all.where(isLive, '=', true))
    .$if(after !== undefined, (all) =>
      all.where(sql<boolean>`(i.driver, i.instance) > (${after?.name}, ${after?.instance})`),
    )
    .orderBy('i.driver')
    .orderBy('i.instance')
    .limit(size + 1);
  return pageOf(
    await fetchPage(tx, query, sql`driver, instance`, size),
    driverView,
    (row) => `${row.driver}/${row.instance}`,
  );
}

/** The first of these instances by name and instance, without spec schemas. */
export async function driversByNumber(
  tx: Tx,
  numbers: readonly number[],
  size: number,
): Promise<readonly DriverView[]> {
  const query = selectDrivers()
    .where(sql<boolean>`i.no = any(${numbers}::bigint[])`)
    .orderBy('i.driver')
    .orderBy('i.instance')
    .limit(size + 1);
  const { rows } = await fetchPage(tx, query, sql`driver, instance`, size);
  return rows.map(driverView);
}

/** Whether the joined lease `l` is live. */
export const isLive = sql<boolean>`coalesce(l.expires_ms > extract(epoch from clock_timestamp()) * 1000, false)`;

function selectDrivers() {
  return tables
    .selectFrom('instances as i')
    .leftJoin('leases as l', 'l.instance_no', 'i.no')
    .select([
      'i.driver',
      'i.instance',
      'i.epoch',
      'i.labels',
      'i.slots',
      'i.pools',
      'i.version',
      'i.draining',
      'i.created_ms',
    ])
    .select(['i.connected_ms', 'l.seen_ms', isLive.as('live')])
    .select((select) =>
      select
        .selectFrom('attempts as a')
        .select(({ fn }) => fn.countAll<number>().as('held'))
        .whereRef('a.instance_no', '=', 'i.no')
        .where('a.finished_ms', 'is', null)
        .as('held'),
    )
    .select(sql<number>`512 + octet_length(i.labels::text)`.as('bytes'));
}

type DriverRow = InferResult<ReturnType<typeof selectDrivers>>[number];

function driverView(row: DriverRow): DriverView {
  return {
    name: row.driver,
    instance: row.instance,
    state: !row.live ? 'GONE' : row.draining ? 'DRAINING' : 'READY',
    labels: row.labels,
    slots: row.slots,
    pools: row.pools,
    held: row.held ?? 0,
    epoch: row.epoch,
    version: row.version,
    createdMs: row.created_ms,
    connectedMs: row.connected_ms,
    heartbeatMs: row.seen_ms ?? row.connected_ms,
  };
}
