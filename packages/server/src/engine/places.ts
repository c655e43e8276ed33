// Sees to concurrency groups: whenever a place may be free, or somebody is to give one up, the runs concerned are told to look. It goes by
// what is stored, so any replica takes up what another one left; asking a run twice has no second effect.
import { candidatesOf } from '../core/group.ts';
import type { RunId } from '../core/ids.ts';
import type { GroupKey } from '../store/group-rows.ts';
import { groupsWaitedFor, loadGroups, rejectingWaiters } from '../store/group-rows.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import type { Ledger } from './ledger.ts';
import type { Log } from './log.ts';
import { createRing } from './ring.ts';

/** Groups that are looked at together. */
const MAX_BATCH = 200;
/** How late it is noticed what another replica did. */
const POLL_MS = 1_000;

const BEGINNING: GroupKey = { project: '', key: '' };

export interface Places {
  /** Jobs of a group have begun to wait for a place, or given one up. */
  changed(group: GroupKey): void;
  run(signal: AbortSignal): Promise<void>;
}

export interface PlacesOptions {
  readonly pool: Pool;
  readonly ledger: Ledger;
  readonly log: Log;
}

export function createPlaces({ pool, ledger, log }: PlacesOptions): Places {
  const bell = createRing();
  let changed = new Map<string, GroupKey>();

  /** Has the runs of these groups look at the places of their jobs. */
  async function lookAt(groups: readonly GroupKey[]): Promise<void> {
    const [states, rejecting] = await withConnection(pool, (tx) =>
      Promise.all([loadGroups(tx, groups), rejectingWaiters(tx, groups)]),
    );
    const asked = new Map([...states.flatMap(candidatesOf), ...rejecting].map((at) => [`${at.runId}.${at.job}`, at]));
    await Promise.all(
      [...asked.values()].map(({ runId, job }) =>
        ledger.submit(runId as RunId, { type: 'ClaimPlace', job, place: undefined }),
      ),
    );
  }

  async function lookAtChanged(): Promise<void> {
    while (changed.size > 0) {
      const groups = [...changed.values()];
      changed = new Map();
      for (let from = 0; from < groups.length; from += MAX_BATCH) {
        await lookAt(groups.slice(from, from + MAX_BATCH));
      }
    }
  }

  /** Whatever nobody told of here, and what was lost with whoever was told. */
  async function lookAtAll(signal: AbortSignal): Promise<void> {
    for (let after = BEGINNING; !signal.aborted; ) {
      const groups = await withConnection(pool, (tx) => groupsWaitedFor(tx, after, MAX_BATCH));
      if (groups.length > 0) await lookAt(groups);
      const last = groups[MAX_BATCH - 1];
      if (last === undefined) return;
      after = last;
    }
  }

  return {
    changed(group) {
      changed.set(`${group.project}\n${group.key}`, group);
      bell.ring();
    },
    async run(signal) {
      let failing = false;
      for (let nextMs = 0; !signal.aborted; ) {
        await bell.wait(Math.max(0, nextMs - performance.now()), signal);
        if (signal.aborted) return;
        try {
          await lookAtChanged();
          if (performance.now() < nextMs) continue;
          await lookAtAll(signal);
          failing = false;
        } catch (error) {
          if (!failing && !signal.aborted) log.warn({ err: error }, 'groups could not be seen to, trying again');
          failing = true;
        }
        nextMs = performance.now() + POLL_MS * (0.75 + Math.random() / 2);
      }
    },
  };
}
