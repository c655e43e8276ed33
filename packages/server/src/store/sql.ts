// How store talks to PostgreSQL on the hot path: named (prepared) statements, and columns of values as array literals, which
// `unnest` turns back into rows. A literal is one flat string: cheaper to build and to send than what pg makes of arrays.
import type { ClientBase, QueryResultRow } from 'pg';

/** A connection on which statements run; inside a transaction, that transaction. */
export type Tx = ClientBase;

/** A statement that each connection prepares once. The name identifies the text. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}

export function statement(name: string, text: string): Statement {
  return { name, text };
}

export async function rowsOf<Row extends QueryResultRow>(tx: Tx, of: Statement, values: unknown[]): Promise<Row[]> {
  return (await tx.query<Row>({ name: of.name, text: of.text, values })).rows;
}

/** Runs two reads: in one round trip where the connection pipelines, one after the other where it takes one query at a time. */
export async function both<A, B>(tx: Tx, first: () => Promise<A>, second: () => Promise<B>): Promise<[A, B]> {
  if ('pipeline' in tx && tx.pipeline === true) return await Promise.all([first(), second()]);
  return [await first(), await second()];
}

/** Runs a statement for its effect. Returns how many rows it touched. */
export async function execute(tx: Tx, of: Statement, values: unknown[]): Promise<number> {
  return (await tx.query({ name: of.name, text: of.text, values })).rowCount ?? 0;
}

/** An array literal of numbers, booleans, or text that never needs quotes, such as ids and states. */
export function plain<T>(items: readonly T[], pick: (item: T) => number | string | boolean | undefined): string {
  let text = '{';
  for (let i = 0; i < items.length; i++) {
    const value = pick(items[i] as T);
    text += (i === 0 ? '' : ',') + (value === undefined ? 'null' : String(value));
  }
  return `${text}}`;
}

/** An array literal of any text. */
export function texts<T>(items: readonly T[], pick: (item: T) => string | undefined): string {
  let text = '{';
  for (let i = 0; i < items.length; i++) {
    const value = pick(items[i] as T);
    text += (i === 0 ? '' : ',') + (value === undefined ? 'null' : quote(value));
  }
  return `${text}}`;
}

/** An array literal of JSON values. */
export function jsons<T>(items: readonly T[], pick: (item: T) => unknown): string {
  return texts(items, (item) => {
    const value = pick(item);
    return value === undefined ? undefined : JSON.stringify(value);
  });
}

/** An array literal of byte strings. */
export function hexes<T>(items: readonly T[], pick: (item: T) => Uint8Array | undefined): string {
  return texts(items, (item) => {
    const value = pick(item);
    return value === undefined
      ? undefined
      : `\\x${Buffer.from(value.buffer, value.byteOffset, value.length).toString('hex')}`;
  });
}

const SPECIAL = /["\\]/;

function quote(value: string): string {
  return SPECIAL.test(value) ? `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"` : `"${value}"`;
}
