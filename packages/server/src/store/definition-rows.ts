// Definitions by the digest of their canonical text. A definition never changes, so whoever read one may keep it. One that nothing
// refers to is removed once nobody has made sure of it for a day; until then whoever stored it may make runs of it.
import { createHash } from 'node:crypto';
import type { Definition } from '../core/definition.ts';
import { canonicalChunks } from '../core/json.ts';
import { execute, plain, rowsOf, statement, texts, type Tx } from './sql.ts';

/** Hexadecimal digits of the SHA-256 of a definition's canonical JSON. */
export type DefinitionDigest = string;

/** Comes in slices. */
export function* digestOf(definition: Definition): Generator<undefined, DefinitionDigest> {
  const hash = createHash('sha256');
  for (const chunk of canonicalChunks(definition)) {
    hash.update(chunk);
    yield;
  }
  return hash.digest('hex');
}

/** A definition as it is stored. */
export interface DefinitionWrite {
  readonly digest: DefinitionDigest;
  readonly body: string;
}

/** Comes in slices. */
export function* definitionWrite(definition: Definition): Generator<undefined, DefinitionWrite> {
  const hash = createHash('sha256');
  let body = '';
  for (const chunk of canonicalChunks(definition)) {
    hash.update(chunk);
    body += chunk;
    yield;
  }
  return { digest: hash.digest('hex'), body };
}

/** How long whoever has stored a definition may rely on it: then it is to be stored again. */
export const DEFINITION_TRUST_MS = 3_600_000;
const DEFINITION_KEEP_MS = 24 * DEFINITION_TRUST_MS;

const INSERT_DEFINITIONS = statement(
  'insert_definitions',
  `insert into definitions as d (digest, body, created_ms, seen_ms)
   select decode(u.digest, 'hex'), u.body, $3, $3 from unnest($1::text[], $2::json[]) u (digest, body) order by u.digest
   on conflict (digest) do update set seen_ms = greatest(d.seen_ms, excluded.seen_ms)`,
);

/** Makes sure that definitions are stored; they may be already. */
export async function insertDefinitions(tx: Tx, rows: readonly DefinitionWrite[], nowMs: number): Promise<void> {
  await execute(tx, INSERT_DEFINITIONS, [plain(rows, ({ digest }) => digest), texts(rows, ({ body }) => body), nowMs]);
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

/** Limits, unlike EXISTS, leave the planner no way but to look for each by its index. */
const IS_UNUSED = `(select true from runs r where r.digest = d.digest limit 1) is null
   and (select true from pipeline_revisions p where p.digest = d.digest limit 1) is null`;

const UNUSED_DEFINITIONS = statement(
  'unused_definitions',
  `select encode(d.digest, 'hex') as digest, d.seen_ms < $2 and ${IS_UNUSED} as unused
   from (select digest, seen_ms from definitions where digest > decode($1, 'hex') order by digest limit $3) d`,
);

// Asked again with the row locked: whoever made sure of it meanwhile has moved its time.
const REMOVE_DEFINITIONS = statement(
  'remove_definitions',
  `delete from definitions d using unnest($1::text[]) u (digest)
   where d.digest = decode(u.digest, 'hex') and d.seen_ms < $2 and ${IS_UNUSED}`,
);

export interface DefinitionsPass {
  readonly removed: number;
  /** Where the next pass begins; undefined: at the first definition. */
  readonly next: DefinitionDigest | undefined;
}

/** Looks at the next `limit` definitions and removes those that nothing refers to any more. */
export async function removeUnusedDefinitions(
  tx: Tx,
  after: DefinitionDigest | undefined,
  nowMs: number,
  limit: number,
): Promise<DefinitionsPass> {
  const beforeMs = nowMs - DEFINITION_KEEP_MS;
  const rows = await rowsOf<{ digest: DefinitionDigest; unused: boolean }>(tx, UNUSED_DEFINITIONS, [
    after ?? '',
    beforeMs,
    limit,
  ]);
  const unused = rows.filter((row) => row.unused);
  const removed =
    unused.length === 0 ? 0 : await execute(tx, REMOVE_DEFINITIONS, [plain(unused, (row) => row.digest), beforeMs]);
  return { removed, next: rows.length < limit ? undefined : rows.at(-1)?.digest };
}
