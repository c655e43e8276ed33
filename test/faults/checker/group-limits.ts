// 13. No group ever has more holders than any of them allows, at any instant of all ledgers together; and who has finished neither holds a
// place nor waits for one.
import { auditGroups } from '../../../packages/server/src/store/testing/check-groups.ts';
import type { Evidence } from './evidence.ts';

export async function groupLimits({ database }: Evidence): Promise<string[]> {
  const { exceeded } = await auditGroups(database);
  const left = await database.query<{ what: string }>(
    `select 'job ' || run_id || '.' || job || ' is ' || m.state || ' in group ' || key || ', and ' || coalesce(j.state, 'gone') as what
     from group_members m left join jobs j using (run_id, job) where j.run_id is null or j.finished_ms is not null`,
  );
  return [...exceeded, ...left.rows.map(({ what }) => what)];
}
