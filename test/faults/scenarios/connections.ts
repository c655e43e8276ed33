// Networks that break, fall silent on one side or both, swallow or delay what is sent; between drivers, clients, replicas and PostgreSQL.
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '../../bench/monotonic-clock.ts';
import { untilTrue } from '../eventually.ts';
import type { Fault } from '../fault.ts';
import { probe } from '../load/shapes.ts';
import { findHosting, limitPassed, lostAttempts, untilMoved } from '../sessions.ts';
import type { Stage } from '../stage.ts';

/** A driver or client may take as long as for a replica that froze. */
const SILENT_LIMIT_MS = 15_000;
const SPELL_MS = 1_500;

export const connectionFaults: readonly Fault[] = [
  {
    name: 'silent-connections',
    says: 'a replica takes connections and never answers, to drivers and clients alike',
    async strike(stage) {
      const hosting = await findHosting(stage);
      const { door } = hosting.host;
      const sinceMs = monotonicMs();
      door.freeze();
      const recoveryMs = await untilMoved(stage, hosting, sinceMs);
      await stage.recovery(sinceMs, hosting.others);
      door.thaw();
      await stage.recovery(sinceMs);
      return { fired: door.harm(), recoveryMs, complaints: await unharmed(stage, recoveryMs) };
    },
  },
  {
    name: 'half-open-connections',
    says: 'connections of drivers and clients are gone for the replica, and still open for them',
    async strike(stage) {
      const hosting = await findHosting(stage);
      const sinceMs = monotonicMs();
      const fired = hosting.host.door.dangle();
      const recoveryMs = await untilMoved(stage, hosting, sinceMs);
      await stage.recovery(sinceMs);
      return { fired, recoveryMs, complaints: await unharmed(stage, recoveryMs) };
    },
  },
  {
    name: 'answers-lost',
    says: 'what drivers and clients say arrives at a replica, and its answers are swallowed',
    async strike(stage) {
      const hosting = await findHosting(stage);
      const { door } = hosting.host;
      const sinceMs = monotonicMs();
      door.set('lost', 'outward');
      const recoveryMs = await untilMoved(stage, hosting, sinceMs);
      door.set('open');
      // What was swallowed is missing from these for ever.
      const fired = door.harm();
      door.sever();
      await stage.recovery(sinceMs);
      return { fired, recoveryMs, complaints: await unharmed(stage, recoveryMs) };
    },
  },
  {
    name: 'severed-connections',
    says: 'the connections of drivers and clients, and those to PostgreSQL, break again and again',
    async strike(stage) {
      let fired = 0;
      for (let round = 0; round < 3; round++) {
        for (const { door, database } of stage.places) fired += door.sever() + database.sever();
        await delay(300);
      }
      return { fired, recoveryMs: await stage.recovery(monotonicMs()), complaints: await unharmed(stage, 0) };
    },
  },
  {
    name: 'slow-network',
    says: 'everything takes 60 ms longer, each way',
    async strike(stage) {
      const ways = stage.places.flatMap(({ door, database }) => [door, database]);
      const before = ways.map((way) => way.harm());
      for (const way of ways) way.set({ delayMs: 30 });
      await delay(SPELL_MS);
      for (const way of ways) way.set('open');
      const fired = ways.reduce((sum, way, index) => sum + way.harm() - (before[index] ?? 0), 0);
      return { fired, recoveryMs: await stage.recovery(monotonicMs()), complaints: await unharmed(stage, 0) };
    },
  },
  {
    name: 'replica-without-database',
    says: 'a replica is cut off from PostgreSQL, and sends its drivers elsewhere',
    async strike(stage) {
      const hosting = await findHosting(stage);
      const { host, others } = hosting;
      const before = host.database.harm();
      const sinceMs = monotonicMs();
      await host.database.cut();
      const recoveryMs = await untilMoved(stage, hosting, sinceMs);
      await stage.recovery(sinceMs, others);
      await host.database.open();
      await stage.recovery(sinceMs);
      const fired = host.database.harm() - before;
      return { fired, recoveryMs, complaints: await unharmed(stage, recoveryMs) };
    },
  },
  {
    name: 'notices-lost',
    says: 'no replica hears the hints of another one, which costs time and nothing else',
    async strike(stage) {
      const { others, host } = await findHosting(stage);
      const muted = (): number => stage.places.reduce((sum, { database }) => sum + database.mutedNotices(), 0);
      for (const { database } of stage.places) database.muteNotices(true);
      const sinceMs = monotonicMs();
      for (const place of [...others, host]) await stage.finished(await stage.createRun(place, probe));
      const recoveryMs = monotonicMs() - sinceMs;
      await untilTrue('notices that were swallowed', () => muted() > 0);
      for (const { database } of stage.places) database.muteNotices(false);
      return { fired: muted(), recoveryMs };
    },
  },
];

async function unharmed(stage: Stage, recoveryMs: number): Promise<string[]> {
  const lost = await lostAttempts(stage);
  return [
    ...limitPassed('drivers at another replica', recoveryMs, SILENT_LIMIT_MS),
    ...(lost === 0 ? [] : [`${lost} attempts were spent although no lease ran out`]),
  ];
}
