// The jobs that wait for tokens of rate limits, and the buckets that the tokens come from. Tokens are taken under the lock of the bucket
// only, in the transaction that queues the job.
import type { RateCandidate, RateState, RateWaiter } from '../core/rate.ts';
import type { JobKey, RunId } from '../core/ids.ts';
import { both, execute, plain, rowsOf, statement, texts, type Tx } from './sql.ts';
import type { SharedKey } from './start-locks.ts';

export interface RateWait {
  readonly rate: SharedKey;
  readonly costMs: number;
  readonly periodMs: number;
}

export interface RateWaitWrite {
  readonly job: JobKey;
  readonly readyMs: number;
  readonly told: boolean;
  /** One for each of its rate limits, in their order; none: it does not wait for tokens any more. */
  readonly waits: readonly RateWait[];
}

const PUT_WAITERS = statement(
  'put_rate_waiters',
  `insert into rate_waiters (run_id, job, n, project, key, ready_ms, cost_ms, period_ms, told)
   select * from unnest($1::uuid[], $2::int[], $3::int[], $4::text[], $5::text[], $6::bigint[], $7::float8[], $8::bigint[], $9::boolean[])
   on conflict (run_id, job, n) do update set told = excluded.told`,
);
const DROP_WAITERS = statement(
  'drop_rate_waiters',
  `delete from rate_waiters w using unnest($1::uuid[], $2::int[]) u (run_id, job) where w.run_id = u.run_id and w.job = u.job`,
);

/** Follows what became of jobs of runs that the transaction has locked or makes. */
export async function changeRateWaiters(tx: Tx, changes: readonly RateWaitWrite[]): Promise<void> {
  const put = changes.flatMap(({ waits, ...row }) => waits.map((wait, n) => ({ ...row, ...wait, n })));
  const dropped = changes.filter(({ waits }) => waits.length === 0);
  await Promise.all([
    put.length > 0 &&
      execute(tx, PUT_WAITERS, [
        plain(put, (row) => row.job.runId),
        plain(put, (row) => row.job.job),
        plain(put, (row) => row.n),
        texts(put, (row) => row.rate.project),
        texts(put, (row) => row.rate.key),
        plain(put, (row) => row.readyMs),
        plain(put, (row) => row.costMs),
        plain(put, (row) => row.periodMs),
        plain(put, (row) => row.told),
      ]),
    dropped.length > 0 &&
      execute(tx, DROP_WAITERS, [plain(dropped, (row) => row.job.runId), plain(dropped, (row) => row.job.job)]),
  ]);
}

/** How many of those that wait are read, in order. */
const FRONT = 1_000;

const BUCKETS = statement(
  'load_rate_buckets',
  `select u.n::int, b.full_ms from unnest($1::text[], $2::text[]) with ordinality u (project, key, n)
   left join lateral (select full_ms from rate_buckets where project = u.project and key = u.key limit 1) b on true
   order by u.n`,
);
const RATE_FRONTS = statement(
  'rate_fronts',
  `select u.n::int, f.* from unnest($1::text[], $2::text[]) with ordinality u (project, key, n)
   cross join lateral (
     select run_id, job, ready_ms, cost_ms, period_ms, told from rate_waiters
     where project = u.project and key = u.key order by ready_ms, run_id, job limit ${FRONT}) f
   order by u.n, f.ready_ms, f.run_id, f.job`,
);

interface RateWaiterRow {
  n: number;
  run_id: RunId;
  job: number;
  ready_ms: number;
  cost_ms: number;
  period_ms: number;
  told: boolean;
}

/** What buckets are now, each in its place. Of one that is locked nobody takes any tokens meanwhile. */
export async function loadRates(tx: Tx, rates: readonly SharedKey[]): Promise<readonly RateState[]> {
  const keys = [texts(rates, (rate) => rate.project), texts(rates, (rate) => rate.key)];
  const [buckets, fronts] = await both(
    tx,
    () => rowsOf<{ n: number; full_ms: number | null }>(tx, BUCKETS, keys),
    () => rowsOf<RateWaiterRow>(tx, RATE_FRONTS, keys),
  );
  const byRate = Map.groupBy(fronts, ({ n }) => n);
  return buckets.map(({ n, full_ms: fullMs }) => {
    const front = (byRate.get(n) ?? []).map(toWaiter);
    return { fullMs: fullMs ?? 0, isWhole: front.length < FRONT, front, taken: false };
  });
}

function toWaiter({ run_id, job, ready_ms, cost_ms, period_ms, told }: RateWaiterRow): RateWaiter {
  return { runId: run_id, job, readyMs: ready_ms, costMs: cost_ms, periodMs: period_ms, told };
}

const RATE_CANDIDATES = statement(
  'rate_candidates',
  `select u.n::int, b.full_ms, f.* from unnest($1::text[], $2::text[]) with ordinality u (project, key, n)
   left join lateral (select full_ms from rate_buckets where project = u.project and key = u.key limit 1) b on true
   cross join lateral (
     select run_id, job, ready_ms, cost_ms, period_ms, told, ahead_ms, allowed, lag(allowed, 1, true) over l as follows_allowed from (
       select *, ceil(greatest(coalesce(b.full_ms, 0), $3::float8) + ahead_ms + cost_ms - period_ms) <= $3 as allowed from (
         select *, coalesce(sum(cost_ms) over (l rows between unbounded preceding and 1 preceding), 0) as ahead_ms from (
           select run_id, job, ready_ms, cost_ms, period_ms, told from rate_waiters
           where project = u.project and key = u.key order by ready_ms, run_id, job limit ${FRONT}) w
         window l as (order by ready_ms, run_id, job)) a) e
     window l as (order by ready_ms, run_id, job)) f
   where f.allowed or f.follows_allowed or not f.told
   order by u.n, f.ready_ms, f.run_id, f.job`,
);

/** Of those at the front of each line whoever is to be decided on, or is next, in order. */
export async function rateLines(
  tx: Tx,
  rates: readonly SharedKey[],
  nowMs: number,
): Promise<readonly { readonly fullMs: number; readonly line: readonly RateCandidate[] }[]> {
  const rows = await rowsOf<RateWaiterRow & { full_ms: number | null; ahead_ms: number }>(tx, RATE_CANDIDATES, [
    texts(rates, (rate) => rate.project),
    texts(rates, (rate) => rate.key),
    nowMs,
  ]);
  const byRate = Map.groupBy(rows, ({ n }) => n);
  return rates.map((_, i) => {
    const own = byRate.get(i + 1) ?? [];
    return {
      fullMs: own[0]?.full_ms ?? 0,
      line: own.map((row) => ({ ...toWaiter(row), aheadMs: row.ahead_ms })),
    };
  });
}

const PUT_BUCKETS = statement(
  'put_rate_buckets',
  `insert into rate_buckets (project, key, full_ms)
   select * from unnest($1::text[], $2::text[], $3::float8[]) u (project, key, full_ms) order by project, key
   on conflict (project, key) do update set full_ms = excluded.full_ms`,
);

/** Notes what was taken out of buckets that the transaction has locked. */
export async function putBuckets(tx: Tx, buckets: readonly (SharedKey & { readonly fullMs: number })[]): Promise<void> {
  await execute(tx, PUT_BUCKETS, [
    texts(buckets, (bucket) => bucket.project),
    texts(buckets, (bucket) => bucket.key),
    plain(buckets, (bucket) => bucket.fullMs),
  ]);
}

const FORGET_BUCKETS = statement(
  'forget_full_buckets',
  `delete from rate_buckets where (project, key) in (
     select project, key from rate_buckets where full_ms < $1 order by full_ms limit $2 for update skip locked)`,
);

/** Forgets buckets that have been full since. Returns how many. */
export async function forgetFullBuckets(tx: Tx, beforeMs: number, limit: number): Promise<number> {
  return await execute(tx, FORGET_BUCKETS, [beforeMs, limit]);
}

// A step from bucket to bucket by the index, however many jobs of each wait.
const WAITED_FOR = statement(
  'rates_waited_for',
  `with recursive r as (
     (select project, key from rate_waiters where (project, key) > ($1, $2) order by project, key limit 1)
     union all
     select n.project, n.key from r cross join lateral (
       select project, key from rate_waiters where (project, key) > (r.project, r.key) order by project, key limit 1) n
   )
   select project, key from r limit $3`,
);

/** Rate limits for whose tokens a job waits, in order of their keys. */
export async function ratesWaitedFor(tx: Tx, after: SharedKey, limit: number): Promise<readonly SharedKey[]> {
  return await rowsOf<{ project: string; key: string }>(tx, WAITED_FOR, [after.project, after.key, limit]);
}
