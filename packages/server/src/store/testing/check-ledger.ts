// Holds what a database stores to what its ledgers say: each run as VerifyRun does, and what no single run tells.
import type { RunId } from '../../core/ids.ts';
import type { Tx } from '../sql.ts';
import { verifyRun } from '../verify-run.ts';

/**
 * Checks every run of the database. Nobody may be writing meanwhile. Returns how many runs there are.
 * @throws Error that lists what contradicts the ledger.
 */
export async function checkLedger(tx: Tx): Promise<number> {
  const problems: string[] = [];
  const { rows } = await tx.query<{ run_id: RunId }>('select run_id from runs order by run_id');
  for (const { run_id: runId } of rows) {
    const verification = await verifyRun(tx, runId, { skipLogs: false });
    for (const { where, expected, found } of verification?.discrepancies ?? []) {
      problems.push(`run ${runId}: ${where} is ${found}, and should be ${expected}`);
    }
  }
  problems.push(...(await contradictions(tx)));
  if (problems.length > 0) throw new Error(`the ledger is contradicted:\n${problems.slice(0, 20).join('\n')}`);
  return rows.length;
}

/** What no single run tells. Each statement finds nothing. */
const CONTRADICTIONS = {
  'events without a run': leftBehind('events'),
  'jobs without a run': leftBehind('jobs'),
  'attempts without a run': leftBehind('attempts'),
  'sections without a run': leftBehind('log_sections'),
  'values without a run': leftBehind('run_values'),
  'artifacts without a run': leftBehind('artifacts'),
  'an attempt that its job heard of later than it was': `select j.run_id::text as id from jobs j join attempts a using (run_id, job, attempt)
    where j.heard_ms > coalesce(a.heard_ms, 0)`,
  'places without a run': leftBehind('group_members'),
  'waits for tokens without a run': leftBehind('rate_waiters'),
  'a group over its limit': `select key as id from group_members where state <> 'WAITING' group by project, key
    having count(*) > min(max_holders)`,
  'a lease of another epoch than its instance':
    'select instance_no::text as id from leases l join instances i on i.no = l.instance_no where l.epoch <> i.epoch',
};

/** Rows of runs that are neither there nor deleted with something still to sweep. */
function leftBehind(table: string): string {
  return `select run_id::text as id from ${table} left join runs r using (run_id) left join deleted_runs d using (run_id)
    where r.run_id is null and (d.run_id is null or d.settled_xid is not null)`;
}

async function contradictions(tx: Tx): Promise<string[]> {
  const found: string[] = [];
  for (const [name, text] of Object.entries(CONTRADICTIONS)) {
    const { rows } = await tx.query<{ id: string }>(`${text} limit 1`);
    for (const { id } of rows) found.push(`${name}: ${id}`);
  }
  return found;
}
