// The members of concurrency groups: jobs that wait for a place and jobs that hold one. A place is given under the lock of the group only,
// which is taken after those of runs, instances and attempts; whoever gives one up needs no lock.
import type { ConcurrencyPolicy } from '../core/definition.ts';
import type { GroupState, Membership, Position, Waiter } from '../core/group.ts';
import type { JobKey, RunId } from '../core/ids.ts';
import type { SharedKey } from './start-locks.ts';
import { both, execute, plain, rowsOf, statement, texts, type Tx } from './sql.ts';

export interface MemberWrite {
  readonly job: JobKey;
  readonly group: SharedKey;
  /** Undefined: it is no member any more. */
  readonly state: Membership | undefined;
  readonly readyMs: number;
  readonly limit: number;
  readonly policy: ConcurrencyPolicy;
}

const PUT_MEMBERS = statement(
  'put_group_members',
  `insert into group_members (run_id, job, project, key, state, ready_ms, max_holders, policy)
   select * from unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::int[], $8::text[])
   on conflict (run_id, job) do update set state = excluded.state, ready_ms = excluded.ready_ms`,
);
const DROP_MEMBERS = statement(
  'drop_group_members',
  `delete from group_members m using unnest($1::uuid[], $2::int[]) u (run_id, job) where m.run_id = u.run_id and m.job = u.job`,
);

/** Follows what became of jobs of runs that the transaction has locked or makes. */
export async function changeMembers(tx: Tx, changes: readonly MemberWrite[]): Promise<void> {
  const [put, dropped] = [changes.filter(({ state }) => state !== undefined), changes.filter(({ state }) => !state)];
  const keys = (rows: readonly MemberWrite[]) => [
    plain(rows, (row) => row.job.runId),
    plain(rows, (row) => row.job.job),
  ];
  await Promise.all([
    put.length > 0 &&
      execute(tx, PUT_MEMBERS, [
        ...keys(put),
        texts(put, (row) => row.group.project),
        texts(put, (row) => row.group.key),
        plain(put, (row) => row.state),
        plain(put, (row) => row.readyMs),
        plain(put, (row) => row.limit),
        plain(put, (row) => row.policy),
      ]),
    dropped.length > 0 && execute(tx, DROP_MEMBERS, keys(dropped)),
  ]);
}

/** How many of those that wait are read, in order. */
const FRONT = 1_000;

const COUNT_GROUPS = statement(
  'count_groups',
  `select u.n::int, h.holders, h.stopping, h.lowest, o.run_id as oldest_run, o.job as oldest_job, o.ready_ms as oldest_ms,
     r.run_id as replacing_run, r.job as replacing_job, r.ready_ms as replacing_ms,
     c.run_id as cancelling_run, c.job as cancelling_job, c.ready_ms as cancelling_ms, c.max_holders as cancelling_limit, w.waiting
   from unnest($1::text[], $2::text[]) with ordinality u (project, key, n)
   cross join lateral (
     select count(*)::int as holders, (count(*) filter (where state = 'STOPPING'))::int as stopping, min(max_holders) as lowest
     from group_members where project = u.project and key = u.key and state <> 'WAITING') h
   left join lateral (
     select run_id, job, ready_ms from group_members
     where project = u.project and key = u.key and state <> 'WAITING' and state = 'HOLDING' order by ready_ms, run_id, job limit 1) o on true
   left join lateral (
     select run_id, job, ready_ms from group_members
     where project = u.project and key = u.key and state = 'WAITING' and policy <> 'QUEUE' and policy <> 'REJECT'
     order by ready_ms desc, run_id desc, job desc limit 1) r on true
   left join lateral (
     select run_id, job, ready_ms, max_holders from group_members
     where project = u.project and key = u.key and state = 'WAITING' and policy <> 'QUEUE' and policy = 'CANCEL_RUNNING'
     order by ready_ms desc, run_id desc, job desc limit 1) c on true
   cross join lateral (
     select count(*)::int as waiting from (
       select 1 from group_members where project = u.project and key = u.key and state = 'WAITING' limit 10001) t) w
   order by u.n`,
);
const GROUP_FRONTS = statement(
  'group_fronts',
  `select u.n::int, f.* from unnest($1::text[], $2::text[]) with ordinality u (project, key, n)
   cross join lateral (
     select run_id, job, ready_ms, max_holders, policy from group_members
     where project = u.project and key = u.key and state = 'WAITING' order by ready_ms, run_id, job limit ${FRONT}) f
   order by u.n, f.ready_ms, f.run_id, f.job`,
);

interface CountRow {
  holders: number;
  stopping: number;
  lowest: number | null;
  oldest_run: RunId | null;
  oldest_job: number;
  oldest_ms: number;
  replacing_run: RunId | null;
  replacing_job: number;
  replacing_ms: number;
  cancelling_run: RunId | null;
  cancelling_job: number;
  cancelling_ms: number;
  cancelling_limit: number;
  waiting: number;
}

interface WaiterRow {
  n: number;
  run_id: RunId;
  job: number;
  ready_ms: number;
  max_holders: number;
  policy: ConcurrencyPolicy;
}

/** What groups are now, each in its place. Holders may have left since; nobody has become one if the groups are locked. */
export async function loadGroups(tx: Tx, groups: readonly SharedKey[]): Promise<readonly GroupState[]> {
  const keys = [texts(groups, (group) => group.project), texts(groups, (group) => group.key)];
  const [counts, fronts] = await both(
    tx,
    () => rowsOf<CountRow & { n: number }>(tx, COUNT_GROUPS, keys),
    () => rowsOf<WaiterRow>(tx, GROUP_FRONTS, keys),
  );
  const byGroup = Map.groupBy(fronts, ({ n }) => n);
  return counts.map((row) => ({
    holders: row.holders,
    stopping: row.stopping,
    lowestLimit: row.lowest ?? undefined,
    oldest: positionOf(row.oldest_run, row.oldest_job, row.oldest_ms),
    front: (byGroup.get(row.n) ?? []).map(toWaiter),
    waiting: row.waiting,
    newestReplacing: positionOf(row.replacing_run, row.replacing_job, row.replacing_ms),
    newestCancelling:
      row.cancelling_run === null
        ? undefined
        : {
            runId: row.cancelling_run,
            job: row.cancelling_job,
            readyMs: row.cancelling_ms,
            limit: row.cancelling_limit,
          },
  }));
}

function positionOf(runId: RunId | null, job: number, readyMs: number): Position | undefined {
  return runId === null ? undefined : { runId, job, readyMs };
}

function toWaiter({ run_id, job, ready_ms, max_holders, policy }: WaiterRow): Waiter {
  return { runId: run_id, job, readyMs: ready_ms, limit: max_holders, policy };
}

// A step from group to group by the index, however many jobs of each wait.
const WAITED_FOR = statement(
  'groups_waited_for',
  `with recursive g as (
     (select project, key from group_members where state = 'WAITING' and (project, key) > ($1, $2) order by project, key limit 1)
     union all
     select n.project, n.key from g cross join lateral (
       select project, key from group_members where state = 'WAITING' and (project, key) > (g.project, g.key)
       order by project, key limit 1) n
   )
   select project, key from g limit $3`,
);

/** Groups for a place in which a job waits, in order of their keys. */
export async function groupsWaitedFor(tx: Tx, after: SharedKey, limit: number): Promise<readonly SharedKey[]> {
  return await rowsOf<{ project: string; key: string }>(tx, WAITED_FOR, [after.project, after.key, limit]);
}

const REJECTING = statement(
  'rejecting_waiters',
  `select u.n::int, f.* from unnest($1::text[], $2::text[]) with ordinality u (project, key, n)
   cross join lateral (
     select run_id, job, ready_ms, max_holders, policy from group_members
     where project = u.project and key = u.key and state = 'WAITING' and policy <> 'QUEUE' and policy = 'REJECT'
     order by ready_ms, run_id, job limit ${FRONT}) f`,
);

/** Jobs that are not to wait for a place, and are there all the same: somebody has to decide on them. */
export async function rejectingWaiters(
  tx: Tx,
  groups: readonly SharedKey[],
): Promise<readonly (Waiter & { readonly group: SharedKey })[]> {
  const keys = [texts(groups, (group) => group.project), texts(groups, (group) => group.key)];
  return (await rowsOf<WaiterRow>(tx, REJECTING, keys)).flatMap((row) => {
    const group = groups[row.n - 1];
    return group === undefined ? [] : [{ ...toWaiter(row), group }];
  });
}
