// How jobs finished, for the jobs that need them and for reruns that take them over.
import type { RunId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import type { Failure, JobState } from '../core/states.ts';
import { plain, rowsOf, statement, type Tx } from './sql.ts';

export interface JobOutcome {
  readonly job: number;
  readonly state: JobState;
  readonly failure: Failure | undefined;
  readonly outputs: JsonObject;
}

const JOB_OUTCOMES = statement(
  'job_outcomes',
  `select j.job, j.state, j.failure, coalesce(j.inherited_outputs, a.outputs, '{}') as outputs
   from unnest($2::int[]) u (job) join jobs j on j.run_id = $1 and j.job = u.job
   left join attempts a on a.run_id = j.run_id and a.job = j.job and a.attempt = j.attempt`,
);

/** The outcomes of jobs of one run. Outputs are those of the newest attempt. */
export async function jobOutcomes(tx: Tx, runId: RunId, jobs: readonly number[]): Promise<JobOutcome[]> {
  const rows = await rowsOf<{ job: number; state: JobState; failure: Failure | null; outputs: JsonObject }>(
    tx,
    JOB_OUTCOMES,
    [runId, plain(jobs, (job) => job)],
  );
  return rows.map((row) => ({ ...row, failure: row.failure ?? undefined }));
}

const OUTPUTS_BYTES = statement(
  'outputs_bytes',
  `select coalesce(sum(octet_length(coalesce(j.inherited_outputs, a.outputs)::text)), 0)::bigint as bytes
   from unnest($2::int[]) u (job) join jobs j on j.run_id = $1 and j.job = u.job
   left join attempts a on a.run_id = j.run_id and a.job = j.job and a.attempt = j.attempt`,
);

/** How many bytes the outputs of jobs of one run have as JSON, roughly. */
export async function outputsBytes(tx: Tx, runId: RunId, jobs: readonly number[]): Promise<number> {
  const [row] = await rowsOf<{ bytes: number }>(tx, OUTPUTS_BYTES, [runId, plain(jobs, (job) => job)]);
  return row?.bytes ?? 0;
}
