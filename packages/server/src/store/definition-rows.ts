// Definitions by the digest of their canonical text. A definition never changes, so whoever read one may keep it.
import { createHash } from 'node:crypto';
import type { Definition } from '../core/definition.ts';
import { canonicalJson } from '../core/json.ts';
import { execute, plain, rowsOf, statement, texts, type Tx } from './sql.ts';

/** Hexadecimal digits of the SHA-256 of a definition's canonical JSON. */
export type DefinitionDigest = string;

export function digestOf(definition: Definition): DefinitionDigest {
  return createHash('sha256').update(canonicalJson(definition)).digest('hex');
}

const INSERT_DEFINITIONS = statement(
  'insert_definitions',
  `insert into definitions (digest, body, created_ms)
   select decode(u.digest, 'hex'), u.body, $3 from unnest($1::text[], $2::json[]) u (digest, body) order by u.digest
   on conflict (digest) do nothing`,
);

/** Stores definitions that may be there already. */
export async function insertDefinitions(
  tx: Tx,
  definitions: ReadonlyMap<DefinitionDigest, Definition>,
  nowMs: number,
): Promise<void> {
  const rows = [...definitions];
  await execute(tx, INSERT_DEFINITIONS, [
    plain(rows, ([digest]) => digest),
    texts(rows, ([, definition]) => canonicalJson(definition)),
    nowMs,
  ]);
}

const LOAD_DEFINITIONS = statement(
  'load_definitions',
  `select encode(d.digest, 'hex') as digest, d.body from unnest($1::text[]) u (digest)
   join definitions d on d.digest = decode(u.digest, 'hex')`,
);

export async function loadDefinitions(
  tx: Tx,
  digests: readonly DefinitionDigest[],
): Promise<Map<DefinitionDigest, Definition>> {
  const rows = await rowsOf<{ digest: DefinitionDigest; body: Definition }>(tx, LOAD_DEFINITIONS, [
    plain(digests, (digest) => digest),
  ]);
  return new Map(rows.map((row) => [row.digest, row.body]));
}
