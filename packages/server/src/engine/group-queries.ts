// Reading concurrency groups.
import { groupView, type MemberView, type Position } from '../core/group.ts';
import { loadGroups } from '../store/group-rows.ts';
import { groupKeys, groupMembers } from '../store/group-views.ts';
import { type Pool, withTransaction } from '../store/pool.ts';
import type { SharedKey } from '../store/start-locks.ts';
import type { Tx } from '../store/sql.ts';
import type { Page } from '../core/views.ts';
import type { GroupOperations } from './engine.ts';
import { malformedCursor } from './refusals.ts';

/** Where a page of members begins: behind which of those that hold places, or that wait. */
interface Place extends Position {
  readonly which: 'HOLDERS' | 'WAITERS';
}

export const FIRST: Position = { readyMs: -1, runId: '00000000-0000-0000-0000-000000000000', job: -1 };
const CURSOR = /^(HOLDERS|WAITERS) (\d{1,15}) ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) (\d{1,9})$/;

export function createGroupQueries({ pool }: { readonly pool: Pool }): GroupOperations {
  return {
    list: (project, { size, after = '' }) =>
      withTransaction(pool, async (tx) => {
        const keys = await groupKeys(tx, project, after, size + 1);
        const shown = keys.slice(0, size);
        const groups = await statesOf(
          tx,
          shown.map((key) => ({ project, key })),
        );
        const next = keys.length > size ? shown.at(-1) : undefined;
        return { items: groups, ...(next !== undefined && { next }) };
      }),
    async get(project, key, { size, after }) {
      const place = after === undefined ? { which: 'HOLDERS' as const, ...FIRST } : placeOf(after);
      return await withTransaction(pool, async (tx) => {
        const [group] = await statesOf(tx, [{ project, key }]);
        if (group === undefined) throw new Error('a group was not loaded');
        return { group, members: await membersFrom(tx, { project, key }, place, size) };
      });
    },
  };
}

async function statesOf(tx: Tx, keys: readonly SharedKey[]) {
  const states = keys.length === 0 ? [] : await loadGroups(tx, keys);
  return states.map((state, i) => groupView(keys[i]?.key ?? '', state));
}

async function membersFrom(tx: Tx, group: SharedKey, place: Place, size: number): Promise<Page<MemberView>> {
  const limit = size + 1;
  const found = [...(await groupMembers(tx, group, place.which, place, limit))];
  if (place.which === 'HOLDERS' && found.length < limit) {
    found.push(...(await groupMembers(tx, group, 'WAITERS', FIRST, limit - found.length)));
  }
  const items = found.slice(0, size);
  const last = items.at(-1);
  if (found.length <= size || last === undefined) return { items };
  const which = last.state === 'WAITING' ? 'WAITERS' : 'HOLDERS';
  return { items, next: `${which} ${last.readyMs} ${last.runId} ${last.job}` };
}

function placeOf(after: string): Place {
  const [, which, readyMs = '', runId = '', job = ''] = CURSOR.exec(after) ?? [];
  if (which !== 'HOLDERS' && which !== 'WAITERS') throw malformedCursor();
  return { which, readyMs: Number(readyMs), runId, job: Number(job) };
}
