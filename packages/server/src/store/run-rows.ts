// The rows that a new run begins with, beside those of its jobs and events: the run itself and its request id.
import type { Trigger } from '../core/events.ts';
import type { RunId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import type { RunHeader } from '../core/run-state.ts';
import type { Labels } from '../core/views.ts';
import { execute, hexes, jsons, plain, rowsOf, statement, texts, type Tx } from './sql.ts';

export interface RunInsert {
  readonly runId: RunId;
  readonly project: string;
  readonly pipeline: string | undefined;
  readonly revision: number | undefined;
  /** Hexadecimal digits of the definition's digest. */
  readonly digest: string;
  readonly header: RunHeader;
  readonly params: JsonObject;
  readonly labels: Labels;
  readonly trigger: Trigger;
  readonly rerunOf: RunId | undefined;
  readonly traceparent: string;
}

const INSERT_RUNS = statement(
  'insert_runs',
  `insert into runs (run_id, project, pipeline, revision, digest, state, seq, last_ms, total, open, succeeded, failed, failure_allowed,
     skipped, cancelled, params, labels, trigger, rerun_of, traceparent, created_ms, started_ms, finished_ms)
   select run_id, project, pipeline, revision, decode(digest, 'hex'), state, seq, last_ms, total, open, succeeded, failed,
     failure_allowed, skipped, cancelled, params, labels, trigger, rerun_of, traceparent, last_ms, started_ms, finished_ms
   from unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::text[], $6::text[], $7::int[], $8::bigint[], $9::int[], $10::int[],
     $11::int[], $12::int[], $13::int[], $14::int[], $15::int[], $16::json[], $17::jsonb[], $18::json[], $19::uuid[], $20::text[],
     $21::bigint[], $22::bigint[])
     u (run_id, project, pipeline, revision, digest, state, seq, last_ms, total, open, succeeded, failed, failure_allowed, skipped,
       cancelled, params, labels, trigger, rerun_of, traceparent, started_ms, finished_ms)`,
);

export async function insertRuns(tx: Tx, rows: readonly RunInsert[]): Promise<void> {
  await execute(tx, INSERT_RUNS, [
    plain(rows, (row) => row.runId),
    texts(rows, (row) => row.project),
    texts(rows, (row) => row.pipeline),
    plain(rows, (row) => row.revision),
    plain(rows, (row) => row.digest),
    plain(rows, (row) => row.header.state),
    plain(rows, (row) => row.header.seq),
    plain(rows, (row) => row.header.lastMs),
    plain(rows, (row) => row.header.counts.total),
    plain(rows, (row) => row.header.counts.open),
    plain(rows, (row) => row.header.counts.succeeded),
    plain(rows, (row) => row.header.counts.failed),
    plain(rows, (row) => row.header.counts.failureAllowed),
    plain(rows, (row) => row.header.counts.skipped),
    plain(rows, (row) => row.header.counts.cancelled),
    jsons(rows, (row) => row.params),
    jsons(rows, (row) => row.labels),
    jsons(rows, (row) => row.trigger),
    plain(rows, (row) => row.rerunOf),
    texts(rows, (row) => row.traceparent),
    plain(rows, (row) => row.header.startedMs),
    plain(rows, (row) => row.header.finishedMs),
  ]);
}

export interface RequestIdRow {
  readonly project: string;
  readonly requestId: string;
  /** SHA-256 of the request without its id. */
  readonly bodyDigest: Uint8Array;
  readonly runId: RunId;
}

const CLAIM_REQUEST_IDS = statement(
  'claim_request_ids',
  `insert into request_ids (project, request_id, body_digest, run_id, created_ms)
   select u.project, u.request_id, u.body_digest, u.run_id, floor(extract(epoch from clock_timestamp()) * 1000)::bigint
   from unnest($1::text[], $2::text[], $3::bytea[], $4::uuid[]) u (project, request_id, body_digest, run_id)
   order by u.project, u.request_id
   on conflict (project, request_id) do nothing returning run_id`,
);

/** Takes request ids for new runs. Returns the runs whose id was free; the others were taken before. */
export async function claimRequestIds(tx: Tx, rows: readonly RequestIdRow[]): Promise<ReadonlySet<RunId>> {
  const claimed = await rowsOf<{ run_id: RunId }>(tx, CLAIM_REQUEST_IDS, [
    texts(rows, (row) => row.project),
    texts(rows, (row) => row.requestId),
    hexes(rows, (row) => row.bodyDigest),
    plain(rows, (row) => row.runId),
  ]);
  return new Set(claimed.map((row) => row.run_id));
}

const RELEASE_REQUEST_IDS = statement(
  'release_request_ids',
  `delete from request_ids r using unnest($1::text[], $2::text[]) u (project, request_id)
   where r.project = u.project and r.request_id = u.request_id`,
);

/** Gives back what the transaction has claimed. */
export async function releaseRequestIds(
  tx: Tx,
  keys: readonly { readonly project: string; readonly requestId: string }[],
): Promise<void> {
  await execute(tx, RELEASE_REQUEST_IDS, [texts(keys, (key) => key.project), texts(keys, (key) => key.requestId)]);
}

const FIND_REQUEST_IDS = statement(
  'find_request_ids',
  `select r.project, r.request_id, r.body_digest, r.run_id from unnest($1::text[], $2::text[]) u (project, request_id)
   join request_ids r on r.project = u.project and r.request_id = u.request_id`,
);

/** What earlier requests with these ids asked for and made. */
export async function findRequestIds(
  tx: Tx,
  keys: readonly { readonly project: string; readonly requestId: string }[],
): Promise<RequestIdRow[]> {
  const rows = await rowsOf<{ project: string; request_id: string; body_digest: Buffer; run_id: RunId }>(
    tx,
    FIND_REQUEST_IDS,
    [texts(keys, (key) => key.project), texts(keys, (key) => key.requestId)],
  );
  return rows.map((row) => ({
    project: row.project,
    requestId: row.request_id,
    bodyDigest: row.body_digest,
    runId: row.run_id,
  }));
}

// That of an occurrence whose run was created, and which does not know it yet, is what keeps it from a second one: also when every server
// was away for longer than ids are kept.
const FORGET_REQUEST_IDS = statement(
  'forget_request_ids',
  `delete from request_ids where (project, request_id) in
   (select r.project, r.request_id from request_ids r where r.created_ms < $1 and (
      select true from occurrences o where o.open and o.run_id is null
        and o.schedule_id = case when r.request_id ~ '^schedule [0-9a-f-]{36} ' then substr(r.request_id, 10, 36)::uuid end
        and r.request_id = concat_ws(' ', 'schedule', o.schedule_id, o.at_ms, o.round) limit 1) is null
      and (select true from calls c where c.child_run is null
        and c.run_id = case when r.request_id ~ '^call [0-9a-f-]{36}[.]' then substr(r.request_id, 6, 36)::uuid end
        and r.request_id = 'call ' || c.run_id || '.' || c.job limit 1) is null
    order by r.created_ms limit $2 for update of r skip locked)`,
);

/** Forgets request ids that are older and that nothing waits for. Returns how many. */
export async function forgetRequestIds(tx: Tx, beforeMs: number, limit: number): Promise<number> {
  return await execute(tx, FORGET_REQUEST_IDS, [beforeMs, limit]);
}
