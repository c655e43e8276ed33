// The rows of artifacts: written by the flush that recorded them, and listed by attempt and by run.
import { sql } from 'kysely';
import type { Artifact } from '../core/events.ts';
import type { AttemptKey, RunId } from '../core/ids.ts';
import type { Page, RunArtifactView } from '../core/views.ts';
import { expectTouched } from './ledger-rows.ts';
import { fetchPage, pageOf, tables } from './query.ts';
import { execute, jsons, plain, rowsOf, statement, texts, type Tx } from './sql.ts';

export interface ArtifactInsert {
  readonly key: AttemptKey;
  readonly project: string;
  readonly number: number;
  readonly artifact: Artifact;
  readonly addedMs: number;
}

const INSERT_ARTIFACTS = statement(
  'insert_artifacts',
  `insert into artifacts (run_id, job, attempt, number, project, artifact, added_ms)
   select * from unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::text[], $6::json[], $7::bigint[])`,
);

// Attempts may be named several times.
const COUNT_ARTIFACTS = statement(
  'count_artifacts',
  `update attempts a set artifacts = u.number, heard_ms = greatest(a.heard_ms, u.added_ms)
   from (select run_id, job, attempt, max(number) as number, max(added_ms) as added_ms
     from unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::bigint[]) n (run_id, job, attempt, number, added_ms)
     group by run_id, job, attempt) u
   where a.run_id = u.run_id and a.job = u.job and a.attempt = u.attempt and a.state = 'RUNNING'`,
);

/** Adds artifacts to attempts that run, each numbered behind those that its attempt has. */
export async function insertArtifacts(tx: Tx, rows: readonly ArtifactInsert[]): Promise<void> {
  const keys = [
    plain(rows, (row) => row.key.runId),
    plain(rows, (row) => row.key.job),
    plain(rows, (row) => row.key.attempt),
    plain(rows, (row) => row.number),
  ];
  const added = plain(rows, (row) => row.addedMs);
  const attempts = new Set(rows.map(({ key }) => `${key.runId} ${key.job} ${key.attempt}`));
  const [, counted] = await Promise.all([
    execute(tx, INSERT_ARTIFACTS, [
      ...keys,
      texts(rows, (row) => row.project),
      jsons(rows, (row) => row.artifact),
      added,
    ]),
    execute(tx, COUNT_ARTIFACTS, [...keys, added]),
  ]);
  expectTouched('attempts with artifacts', counted, attempts.size);
}

const ATTEMPT_ARTIFACTS = statement(
  'attempt_artifacts',
  'select artifact from artifacts where run_id = $1 and job = $2 and attempt = $3 order by number limit $4',
);

/** The first artifacts of an attempt. */
export async function attemptArtifacts(
  tx: Tx,
  { runId, job, attempt }: AttemptKey,
  limit: number,
): Promise<Artifact[]> {
  const rows = await rowsOf<{ artifact: Artifact }>(tx, ATTEMPT_ARTIFACTS, [runId, job, attempt, limit]);
  return rows.map(({ artifact }) => artifact);
}

/** A place in the order of the artifacts of a run. */
export interface ArtifactPlace {
  readonly job: number;
  readonly attempt: number;
  readonly number: number;
}

/** Lists artifacts of a run in the definition's order of jobs, then by attempt and number. */
export async function listArtifacts(
  tx: Tx,
  runId: RunId,
  nameOf: (job: number) => string,
  filter: { readonly job: number | undefined; readonly size: number; readonly after: ArtifactPlace | undefined },
): Promise<Page<RunArtifactView>> {
  const { job, size, after } = filter;
  const query = tables
    .selectFrom('artifacts')
    .select(['job', 'attempt', 'number', 'artifact', 'added_ms'])
    .select(sql<number>`256 + octet_length(artifact::text)`.as('bytes'))
    .where('run_id', '=', runId)
    .$if(job !== undefined, (all) => all.where('job', '=', job ?? 0))
    .$if(after !== undefined, (all) =>
      all.where(sql<boolean>`(job, attempt, number) > (${after?.job}, ${after?.attempt}, ${after?.number})`),
    )
    .orderBy('job')
    .orderBy('attempt')
    .orderBy('number')
    .limit(size + 1);
  return pageOf(
    await fetchPage(tx, query, sql`job, attempt, number`, size),
    (row) => ({
      runId,
      job: row.job,
      jobName: nameOf(row.job),
      attempt: row.attempt,
      number: row.number,
      artifact: row.artifact,
      addedMs: row.added_ms,
    }),
    (row) => `${row.job}.${row.attempt}.${row.number}`,
  );
}
