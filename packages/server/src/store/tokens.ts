// Bearer tokens, by the SHA-256 of their text; the text itself is stored nowhere here.
import { sql } from 'kysely';
import { affectRows, fetchRows, tables } from './query.ts';
import type { Tx } from './sql.ts';

/** What a token allows. */
export interface TokenGrant {
  /** Names the token, in logs and as the owner of driver instances; it outlives a change of the token's text. */
  readonly id: string;
  readonly role: 'operator' | 'driver';
  /** Driver names that a driver token may serve; undefined: all. */
  readonly driverNames: readonly string[] | undefined;
}

/** Keeps others from changing tokens until the transaction ends: replicas that share a data directory may start at once. */
export async function lockTokens(tx: Tx): Promise<void> {
  await tx.query('lock table tokens in share row exclusive mode');
}

/** Makes a token valid under its id, in place of an earlier one with this id. Returns whether that had another text. */
export async function putToken(tx: Tx, digest: Buffer, { id, role, driverNames }: TokenGrant): Promise<boolean> {
  const names = driverNames === undefined ? null : [...driverNames];
  const before = await fetchRows(tx, tables.selectFrom('tokens').select('digest').where('id', '=', id));
  const query = tables
    .insertInto('tokens')
    .values({ digest, id, role, driver_names: names, created_ms: nowMs })
    .onConflict((conflict) => conflict.column('id').doUpdateSet({ digest, role, driver_names: names }));
  await affectRows(tx, query);
  return before.some((row) => !row.digest.equals(digest));
}

const nowMs = sql<number>`floor(extract(epoch from clock_timestamp()) * 1000)`;

/** Finds who holds a token. */
export async function findToken(tx: Tx, digest: Buffer): Promise<TokenGrant | undefined> {
  const query = tables.selectFrom('tokens').select(['id', 'role', 'driver_names']).where('digest', '=', digest);
  const [row] = await fetchRows(tx, query);
  return row && { id: row.id, role: row.role, driverNames: row.driver_names ?? undefined };
}

/** Makes every token whose id ends so invalid, except those with the given ids. Returns the ids of those that were valid. */
export async function dropTokens(tx: Tx, idSuffix: string, except: readonly string[]): Promise<string[]> {
  const query = tables
    .deleteFrom('tokens')
    .where(sql<boolean>`right(id, ${idSuffix.length}) = ${idSuffix}`)
    .where(sql<boolean>`id <> all(${except}::text[])`)
    .returning('id');
  return (await fetchRows(tx, query)).map((row) => row.id);
}
