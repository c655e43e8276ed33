// What calls name: pipelines as they are stored, as far as it tells whether a call can be made.
import type { JsonObject } from '../core/json.ts';
import { plain, rowsOf, statement, texts, type Tx } from './sql.ts';

export interface CalledRef {
  readonly name: string;
  /** Undefined: the newest. */
  readonly revision: number | undefined;
}

export interface CalledPipeline {
  readonly newestRevision: number;
  /** Whether it has the revision that was asked for. */
  readonly hasRevision: boolean;
  readonly paramsSchema: JsonObject | undefined;
  /** Whether that makes calls itself. */
  readonly makesCalls: boolean;
}

// The limits leave the planner no way but to look for each by its key.
const FIND_CALLED = statement(
  'find_called',
  `select p.revision as newest, r.revision is not null as found, d.body -> 'paramsSchema' as params_schema,
     exists (select from json_array_elements(d.body -> 'jobs') j where j -> 'call' is not null) as makes_calls
   from unnest($2::text[], $3::int[]) with ordinality u (name, revision, n)
   left join lateral (
     select name, revision from pipelines where project = $1 and name = u.name and deleted_ms is null limit 1) p on true
   left join lateral (
     select revision, digest from pipeline_revisions
     where project = $1 and pipeline = p.name and revision = coalesce(u.revision, p.revision) limit 1) r on true
   left join lateral (select body from definitions where digest = r.digest limit 1) d on true
   order by u.n`,
);

/** The pipelines that are named, each in its place; undefined where there is none. */
export async function findCalled(
  tx: Tx,
  project: string,
  refs: readonly CalledRef[],
): Promise<readonly (CalledPipeline | undefined)[]> {
  const rows = await rowsOf<{
    newest: number | null;
    found: boolean;
    params_schema: JsonObject | null;
    makes_calls: boolean;
  }>(tx, FIND_CALLED, [project, texts(refs, ({ name }) => name), plain(refs, ({ revision }) => revision)]);
  return rows.map(({ newest, found, params_schema: paramsSchema, makes_calls: makesCalls }) =>
    newest === null
      ? undefined
      : { newestRevision: newest, hasRevision: found, paramsSchema: paramsSchema ?? undefined, makesCalls },
  );
}

const NAMES_LIKE = statement(
  'pipeline_names_like',
  `select name from pipelines p where project = $1 and deleted_ms is null
     and exists (select from unnest($2::text[]) w where abs(length(w) - length(p.name)) <= 2)
   order by name limit $3`,
);

/** Names of pipelines that are about as long as one of these. */
export async function pipelineNamesLike(
  tx: Tx,
  project: string,
  names: readonly string[],
  limit: number,
): Promise<readonly string[]> {
  const rows = await rowsOf<{ name: string }>(tx, NAMES_LIKE, [project, texts(names, (name) => name), limit]);
  return rows.map(({ name }) => name);
}
