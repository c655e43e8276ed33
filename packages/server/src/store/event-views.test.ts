import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RunId } from '../core/ids.ts';
import { readEvents, readFeed } from './event-views.ts';
import { withConnection } from './pool.ts';
import type { Tx } from './sql.ts';
import { openTestPools, type TestPools } from './testing/pools.ts';

let pools: TestPools;

beforeAll(async () => {
  pools = await openTestPools();
});
afterAll(() => pools[Symbol.asyncDispose]());

/** The plan that a prepared statement of `read` keeps for any values, made while the database is empty and not analysed. */
async function keptPlan(read: (tx: Tx) => Promise<unknown>): Promise<string> {
  return await withConnection(pools.pool, async (tx) => {
    await tx.query('deallocate all');
    await tx.query('set plan_cache_mode = force_generic_plan');
    const prepared: string[] = [];
    const recording = {
      query: async ({ name, text }: { name: string; text: string }) => {
        await tx.query(`prepare ${name} as ${text}`);
        prepared.push(name);
        return { rows: [{ snapshot: '1:1:' }] };
      },
    } as unknown as Tx;
    await read(recording);
    const { rows: statements } = await tx.query<{ arity: number }>(
      'select cardinality(parameter_types) as arity from pg_prepared_statements where name = $1',
      [prepared[0]],
    );
    const nulls = Array.from({ length: statements[0]?.arity ?? 0 }, () => 'null').join(', ');
    const { rows } = await tx.query<{ 'QUERY PLAN': string }>(`explain execute ${prepared[0]} (${nulls})`);
    await tx.query('reset plan_cache_mode');
    return rows.map((row) => row['QUERY PLAN']).join('\n');
  });
}

test('the kept plan for events of a run reads from the cursor on', async () => {
  const plan = await keptPlan((tx) => readEvents(tx, '' as RunId, 0));
  expect(plan).toMatch(/Index Cond: \(\(run_id = \$1\) AND \(seq > \$2\)\)/);
  expect(plan).not.toContain('Seq Scan');
});

test('the kept plan for changes of a project reads two ranges of the feed, and nothing else of it', async () => {
  const plan = await keptPlan((tx) => readFeed(tx, '', { end: 1n, running: [] }));
  expect(plan).toMatch(/Index Cond: \(\(project = \$1\) AND \(feed_xid = ANY \(\$3\)\)\)/);
  expect(plan).toMatch(/Index Cond: \(\(project = \$1\) AND \(feed_xid >= \$2\)\)/);
  expect(plan).not.toContain('Seq Scan');
});
