// PostgreSQL that ends sessions, dies and comes back, alone or with everything else.
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '../../bench/monotonic-clock.ts';
import { eventually } from '../eventually.ts';
import type { Fault } from '../fault.ts';
import { probe } from '../load/shapes.ts';
import { limitPassed } from '../sessions.ts';
import type { Stage } from '../stage.ts';

/** From when PostgreSQL is back until every replica serves. */
const RESUME_LIMIT_MS = 10_000;
const TERMINATED = 12;

export const postgresFaults: readonly Fault[] = [
  {
    name: 'terminated-backends',
    says: 'random sessions of replicas are ended by pg_terminate_backend',
    async strike(stage) {
      let fired = 0;
      for (let round = 0; round < TERMINATED; round++) {
        const [row] = await stage.system.query<{ ended: boolean }>(
          `select pg_terminate_backend(pid) as ended from pg_stat_activity
           where datname = current_database() and application_name like 'conveyor %' and pid <> pg_backend_pid()
           order by md5(pid || $1) limit 1`,
          [String(stage.random.next())],
        );
        if (row?.ended === true) fired++;
        await delay(100);
      }
      return { fired, recoveryMs: await stage.recovery(monotonicMs()) };
    },
  },
  {
    name: 'killed-postgres',
    says: 'PostgreSQL is killed under load, and started again by who owns it',
    scene: { ownDatabase: true },
    async strike(stage) {
      const { fired, backMs } = await killPostgres(stage);
      const recoveryMs = await stage.recovery(backMs);
      return { fired, recoveryMs, complaints: limitPassed('service after PostgreSQL', recoveryMs, RESUME_LIMIT_MS) };
    },
  },
  {
    name: 'everything-killed',
    says: 'every replica and PostgreSQL are killed right after a run was acknowledged',
    scene: { ownDatabase: true },
    async strike(stage) {
      let fired = 0;
      let recoveryMs = 0;
      for (let death = 0; death < stage.kills; death++) {
        const runId = await stage.createRun(stage.random.pick(stage.places), probe);
        const [{ fired: killed }, ...signals] = await Promise.all([
          killPostgres(stage),
          ...stage.places.map((place) => place.server().kill()),
        ]);
        if (killed === 1 && signals.every((signal) => signal === 'SIGKILL')) fired++;
        const sinceMs = monotonicMs();
        await Promise.all(stage.places.map((place) => place.start()));
        await stage.finished(runId);
        recoveryMs = Math.max(recoveryMs, await stage.recovery(sinceMs));
      }
      return { fired, recoveryMs };
    },
  },
];

/** Kills the postmaster and waits for the next one. */
async function killPostgres(stage: Stage): Promise<{ readonly fired: number; readonly backMs: number }> {
  const before = await stage.postmaster();
  process.kill(before, 'SIGKILL');
  const isBack = async (): Promise<boolean> => {
    if ((await stage.postmaster()) === before) return false;
    await stage.system.query('select 1');
    return true;
  };
  const fired = (await eventually(isBack, 20_000)) ? 1 : 0;
  return { fired, backMs: monotonicMs() };
}
