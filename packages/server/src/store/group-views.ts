// Concurrency groups and their members as readers see them.
import type { MemberView, Position } from '../core/group.ts';
import type { RunId } from '../core/ids.ts';
import { rowsOf, statement, type Tx } from './sql.ts';
import type { SharedKey } from './start-locks.ts';

// A step from key to key, by the index of those that wait and that of those that hold a place.
const KEYS = statement(
  'group_keys',
  `with recursive g as (
     select $2::text as key
     union all
     select n.key from g cross join lateral (
       select min(k.key) as key from (
         (select key from group_members where project = $1 and state = 'WAITING' and key > g.key order by key limit 1)
         union all
         (select key from group_members where project = $1 and state <> 'WAITING' and key > g.key order by key limit 1)) k) n
     where n.key is not null
   )
   select key from g offset 1 limit $3`,
);

/** The keys of the groups of a project that have members, in order. */
export async function groupKeys(tx: Tx, project: string, after: string, limit: number): Promise<readonly string[]> {
  return (await rowsOf<{ key: string }>(tx, KEYS, [project, after, limit])).map(({ key }) => key);
}

const membersWhere = (condition: string): string =>
  `select run_id, job, ready_ms, state, max_holders, policy from group_members
   where project = $1 and key = $2 and ${condition} and (ready_ms, run_id, job) > ($3, $4::uuid, $5)
   order by ready_ms, run_id, job limit $6`;

const HOLDERS = statement('group_holders', membersWhere(`state <> 'WAITING'`));
const WAITERS = statement('group_waiters', membersWhere(`state = 'WAITING'`));

interface MemberRow {
  run_id: RunId;
  job: number;
  ready_ms: number;
  state: MemberView['state'];
  max_holders: number;
  policy: MemberView['policy'];
}

/** Those that hold a place, or those that wait for one, behind a position. */
export async function groupMembers(
  tx: Tx,
  { project, key }: SharedKey,
  which: 'HOLDERS' | 'WAITERS',
  after: Position,
  limit: number,
): Promise<readonly MemberView[]> {
  const { readyMs, runId, job } = after;
  const of = which === 'HOLDERS' ? HOLDERS : WAITERS;
  const rows = await rowsOf<MemberRow>(tx, of, [project, key, readyMs, runId, job, limit]);
  return rows.map((row) => ({
    runId: row.run_id,
    job: row.job,
    readyMs: row.ready_ms,
    state: row.state,
    limit: row.max_holders,
    policy: row.policy,
  }));
}
