// Which spec schemas the instances of drivers publish.
import { sql } from 'kysely';
import type { JsonObject } from '../core/json.ts';
import { isLive } from './driver-views.ts';
import { fetchRows, tables } from './query.ts';
import { rowsOf, statement, type Tx } from './sql.ts';

/** A schema of a driver, by its digest. */
export interface SchemaRef {
  readonly driver: string;
  /** Hexadecimal digits. */
  readonly digest: string;
}

/** What one or more instances of a driver publish. */
export interface PublishedSchema {
  readonly driver: string;
  /** Undefined: they publish no schema. */
  readonly digest: string | undefined;
  /** Whether one of these instances has a live lease. */
  readonly live: boolean;
}

/** What every known instance of these drivers publishes, each schema once, that of the newest session first. */
export async function publishedSchemas(tx: Tx, drivers: readonly string[]): Promise<PublishedSchema[]> {
  const query = tables
    .selectFrom('instances as i')
    .leftJoin('leases as l', 'l.instance_no', 'i.no')
    .select(['i.driver', 'i.schema_digest', sql<boolean>`bool_or(${isLive})`.as('live')])
    .where(sql<boolean>`i.driver = any(${drivers}::text[])`)
    .groupBy(['i.driver', 'i.schema_digest'])
    .orderBy(({ fn }) => fn.max('i.connected_ms'), 'desc');
  const rows = await fetchRows(tx, query);
  return rows.map(({ driver, schema_digest: digest, live }) => ({ driver, digest: digest?.toString('hex'), live }));
}

/** Reads stored schemas. */
export async function loadSchemas(
  tx: Tx,
  refs: readonly SchemaRef[],
): Promise<(SchemaRef & { readonly body: JsonObject })[]> {
  if (refs.length === 0) return [];
  const query = tables
    .selectFrom('spec_schemas')
    .select(['driver', 'digest', 'body'])
    .where(
      sql<boolean>`(driver, digest) in (select * from unnest(${refs.map(({ driver }) => driver)}::text[],
        ${refs.map(({ digest }) => Buffer.from(digest, 'hex'))}::bytea[]))`,
    );
  const rows = await fetchRows(tx, query);
  return rows.map(({ driver, digest, body }) => ({ driver, digest: digest.toString('hex'), body }));
}

// An instance is one of many of its driver: one step of the index by name and instance for each name.
const DRIVER_NAMES = statement(
  'driver_names',
  `with recursive names (driver) as (
     (select driver from instances where driver > '' order by driver limit 1)
     union all
     select i.driver from names n
     cross join lateral (select driver from instances where driver > n.driver order by driver limit 1) i)
   select driver from names limit $1`,
);

/** The names of drivers that ever connected, in their order. */
export async function driverNames(tx: Tx, limit: number): Promise<readonly string[]> {
  return (await rowsOf<{ driver: string }>(tx, DRIVER_NAMES, [limit])).map(({ driver }) => driver);
}
