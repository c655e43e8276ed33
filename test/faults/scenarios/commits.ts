// Faults that are placed exactly: right before a COMMIT, between it and its reply, right after the reply. What was answered must be
// there, what was not may or may not be, and asking again has no second effect.
import { setTimeout as delay } from 'node:timers/promises';
import type { CommitPoint } from '../../../packages/server/src/store/testing/postgres-proxy.ts';
import { monotonicMs } from '../../bench/monotonic-clock.ts';
import type { Fault } from '../fault.ts';
import type { Place } from '../place.ts';
import { findHosting } from '../sessions.ts';
import type { Stage } from '../stage.ts';

const LANES = ['creates', 'transitions', 'logs', 'claims'] as const;
type LaneName = (typeof LANES)[number];
/** An answer that went out too early gets this long to arrive. */
const EARLY_MS = 100;
const PATIENCE_MS = 10_000;
/** Kills of one scenario. */
const KILLS = 2;

export const commitFaults: readonly Fault[] = [
  killedAt('before', 'killed-before-commit', 'a replica is killed before its COMMIT reaches PostgreSQL'),
  killedAt('unanswered', 'killed-after-commit', 'a replica is killed when PostgreSQL has committed, before it knows'),
  killedAt('answered', 'killed-after-reply', 'a replica is killed right after it knows that PostgreSQL has committed'),
  {
    name: 'commit-lost',
    says: 'a COMMIT is lost on its way to PostgreSQL; the replica lives',
    async strike(stage) {
      const { host } = await findHosting(stage);
      let fired = 0;
      for (const lane of LANES) fired += await springAt(host, lane, 'before');
      return { fired, recoveryMs: await stage.recovery(monotonicMs()) };
    },
  },
  {
    name: 'commit-reply-lost',
    says: 'PostgreSQL has committed and its reply is lost; the replica lives',
    async strike(stage) {
      const { host } = await findHosting(stage);
      let fired = 0;
      for (const lane of LANES) fired += await springAt(host, lane, 'unanswered');
      return { fired, recoveryMs: await stage.recovery(monotonicMs()) };
    },
  },
  {
    name: 'offer-lost',
    says: 'a replica is killed between the commit of its claims and their offers to drivers',
    async strike(stage) {
      const { host } = await findHosting(stage);
      const fired = await killAt(stage, host, 'claims', 'unanswered');
      return { fired, recoveryMs: await stage.recovery(monotonicMs()) };
    },
  },
];

function killedAt(point: CommitPoint, name: string, says: string): Fault {
  return {
    name,
    says,
    async strike(stage) {
      let fired = 0;
      const lanes = [...LANES].toSorted(() => stage.random.next() - 0.5).slice(0, KILLS);
      let sinceMs = monotonicMs();
      for (const lane of lanes) {
        const { host } = await findHosting(stage);
        fired += await killAt(stage, host, lane, point);
        sinceMs = monotonicMs();
      }
      return { fired, recoveryMs: await stage.recovery(sinceMs) };
    },
  };
}

/** Returns 1 when the replica was killed there; another one has taken its place. */
async function killAt(stage: Stage, place: Place, lane: LaneName, point: CommitPoint): Promise<number> {
  const victim = place.server();
  const fired = await springAt(place, lane, point, async () => {
    await delay(EARLY_MS);
    await victim.kill();
  });
  await victim.kill();
  await place.start();
  await stage.flow(1);
  return fired;
}

/** Returns 1 when the trap has sprung. */
async function springAt(place: Place, lane: LaneName, point: CommitPoint, act?: () => Promise<void>): Promise<number> {
  const sprung = place.database.atCommit({ lane, point, ...(act !== undefined && { act }) });
  return await Promise.race([sprung.then(() => 1), delay(PATIENCE_MS, 0)]);
}
