// Queries off the hot path: kysely builds them, the caller's connection runs them. Pages are bounded by rows and by bytes.
import {
  type Compilable,
  type CompiledQuery,
  DummyDriver,
  type Expression,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type RawBuilder,
  sql,
} from 'kysely';
import type { QueryResultRow } from 'pg';
import { LIMITS } from '../core/limits.ts';
import type { Page } from '../core/views.ts';
import type { Tables } from './database-types.ts';
import type { Tx } from './sql.ts';

/** Where queries begin. It has no connection: `fetchRows` and `fetchPage` run what it builds. */
export const tables = new Kysely<Tables>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
});

/** @param name Of a query on the way of every run, whose text never varies: each connection prepares it once. */
export async function fetchRows<Row extends QueryResultRow>(
  tx: Tx,
  query: Compilable<Row>,
  name?: string,
): Promise<Row[]> {
  return await run(tx, query.compile(), name);
}

/** Runs a query for its effect. Returns how many rows it touched. */
export async function affectRows(tx: Tx, query: Compilable): Promise<number> {
  const { sql: text, parameters } = query.compile();
  return (await tx.query(text, [...parameters])).rowCount ?? 0;
}

export interface RowsPage<Row> {
  readonly rows: readonly Row[];
  /** Whether the query has rows after these. */
  readonly more: boolean;
}

/**
 * Runs a query for one page: at most `size` rows, and only so many that the sum of their column `bytes` stays below
 * LIMITS.pageBytes; at least one.
 * @param query Ordered by `order` and limited to `size + 1` rows.
 */
export async function fetchPage<Row extends QueryResultRow & { bytes: number }>(
  tx: Tx,
  query: Expression<Row>,
  order: RawBuilder<unknown>,
  size: number,
): Promise<RowsPage<Row>> {
  // Cut by the database: rows that do not fit are never sent, and a page of the largest ones would be 100 MiB.
  const page = sql<Row & { available: number }>`
    select * from (
      select p.*, count(*) over () as available,
        sum(p.bytes) over (order by ${order} rows unbounded preceding) as bytes_so_far, row_number() over (order by ${order}) as place
      from (${query}) p
    ) q where place = 1 or (bytes_so_far <= ${LIMITS.pageBytes} and place <= ${size}) order by place`;
  const rows = await run(tx, page.compile(tables));
  return { rows, more: rows.length < (rows[0]?.available ?? 0) };
}

/** The page as its reader gets it; `keyOf` the last row is where the next one begins. */
export function pageOf<Row, Item>(
  { rows, more }: RowsPage<Row>,
  view: (row: Row) => Item,
  keyOf: (row: Row) => string | number,
): Page<Item> {
  const last = rows.at(-1);
  return { items: rows.map(view), ...(more && last !== undefined && { next: String(keyOf(last)) }) };
}

async function run<Row extends QueryResultRow>(
  tx: Tx,
  { sql: text, parameters }: CompiledQuery<Row>,
  name?: string,
): Promise<Row[]> {
  return (await tx.query<Row>({ ...(name !== undefined && { name }), text, values: [...parameters] })).rows;
}
