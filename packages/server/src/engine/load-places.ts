// What a flush reads for decisions on places: the groups concerned are locked, then counted, and the clock is read last, so that no place is
// given before the time at which another job left it.
import { type GroupState, membershipOf, noteMove, type PlaceView, type Position, viewOf } from '../core/group.ts';
import { plannedJob } from '../core/plan.ts';
import type { JobRecord } from '../core/run-state.ts';
import { type GroupKey, loadGroups, lockGroups } from '../store/group-rows.ts';
import { readClock } from '../store/ledger-rows.ts';
import type { Tx } from '../store/sql.ts';
import type { RunContext } from './run-context.ts';
import type { RunWork } from './run-work.ts';

/** The groups that a flush has locked, by project and key. Its works share them, and each sees what those before it decided. */
export type LockedGroups = ReadonlyMap<string, GroupState>;

/** Gives the works what their claims ask about. Returns the time from which they decide; undefined when nothing is claimed. */
export async function loadPlaces(tx: Tx, works: readonly RunWork[]): Promise<number | undefined> {
  const claiming = works.filter(({ submissions }) => submissions.some(({ command }) => command.type === 'ClaimPlace'));
  if (claiming.length === 0) return undefined;
  const wanted = new Map<string, GroupKey>();
  for (const { context, submissions, jobs } of claiming) {
    for (const { command } of submissions) {
      const key = command.type === 'ClaimPlace' ? jobs.get(command.job)?.details?.group : undefined;
      if (key !== undefined) wanted.set(idOf(context, key), { project: context.project, key });
    }
  }
  if (wanted.size === 0) return undefined;
  const keys = [...wanted.values()];
  const [, states, nowMs] = await Promise.all([lockGroups(tx, keys), loadGroups(tx, keys), readClock(tx)]);
  const groups = new Map([...wanted.keys()].map((id, i) => [id, present(states[i])]));
  for (const work of claiming) work.groups = groups;
  return nowMs;
}

/** What is known of the place of a job; undefined: it has no group, or nobody has locked that. */
export function placeOf(
  { groups, context }: RunWork,
  job: number,
  record: JobRecord | undefined,
): PlaceView | undefined {
  const key = record?.details?.group;
  const group = key === undefined ? undefined : groups?.get(idOf(context, key));
  if (record === undefined || group === undefined) return undefined;
  return viewOf(group, positionOf(context, job, record), limitOf(context, job));
}

/** Tells the groups what was decided on a job. */
export function notePlace({ groups, context }: RunWork, job: number, record: JobRecord | undefined): void {
  const key = record?.details?.group;
  const group = key === undefined ? undefined : groups?.get(idOf(context, key));
  if (record === undefined || group === undefined) return;
  noteMove(group, positionOf(context, job, record), limitOf(context, job), membershipOf(record));
}

function idOf({ project }: RunContext, key: string): string {
  return `${project}\n${key}`;
}

function positionOf({ runId }: RunContext, job: number, { readyMs = 0 }: JobRecord): Position {
  return { runId, job, readyMs };
}

function limitOf({ plan }: RunContext, job: number): number {
  return plannedJob(plan, job).definition.concurrency?.limit ?? 1;
}

function present(state: GroupState | undefined): GroupState {
  if (state === undefined) throw new Error('a group was not loaded');
  return state;
}
