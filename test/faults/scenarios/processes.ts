// Replicas and drivers that are killed, frozen and restarted.
import { readFile } from 'node:fs/promises';
import { monotonicMs } from '../../bench/monotonic-clock.ts';
import { eventually } from '../eventually.ts';
import type { Fault } from '../fault.ts';
import { steadyWork } from '../load/shapes.ts';
import { findHosting, limitPassed, lostAttempts, untilMoved } from '../sessions.ts';
import type { Stage } from '../stage.ts';

/** How long drivers may take to another replica when theirs was killed, and when it froze. */
const KILLED_LIMIT_MS = 5_000;
const FROZEN_LIMIT_MS = 15_000;
const SHORT_LEASE = { leaseMs: 2_500, heartbeatMs: 500 };

export const processFaults: readonly Fault[] = [
  {
    name: 'killed-replica',
    says: 'a replica is killed; its drivers go on elsewhere with the same attempts',
    async strike(stage) {
      await steadyRuns(stage);
      const hosting = await findHosting(stage);
      const sinceMs = monotonicMs();
      const signal = await hosting.host.server().kill();
      const recoveryMs = await untilMoved(stage, hosting, sinceMs);
      await hosting.host.start();
      await stage.recovery(sinceMs);
      const fired = signal === 'SIGKILL' ? 1 : 0;
      return { fired, recoveryMs, complaints: await p4(stage, recoveryMs, KILLED_LIMIT_MS) };
    },
  },
  {
    name: 'frozen-replica',
    says: 'a replica is stopped by SIGSTOP; its drivers go on elsewhere, and it does no harm when it wakes',
    async strike(stage) {
      await steadyRuns(stage);
      const hosting = await findHosting(stage);
      const { host, others } = hosting;
      const sinceMs = monotonicMs();
      host.server().freeze();
      const recoveryMs = await untilMoved(stage, hosting, sinceMs);
      await stage.recovery(sinceMs, others);
      const fired = await isStopped(host.server().pid);
      host.server().thaw();
      await stage.recovery(monotonicMs());
      return { fired, recoveryMs, complaints: await p4(stage, recoveryMs, FROZEN_LIMIT_MS) };
    },
  },
  {
    name: 'killed-driver',
    says: 'a driver is killed in the middle of its work, which is offered again when its lease has run out',
    scene: { timing: SHORT_LEASE },
    async strike(stage) {
      const runs = await steadyRuns(stage);
      const victim = stage.drivers[0]!;
      const held = await liveAttempts(stage, victim.instanceId);
      const sinceMs = monotonicMs();
      const signal = await victim.kill();
      await lostBy(stage, victim.instanceId, held);
      const recoveryMs = monotonicMs() - sinceMs;
      await stage.startDriver();
      await Promise.all(runs.map((runId) => stage.finished(runId)));
      return { fired: signal === 'SIGKILL' ? held : 0, recoveryMs };
    },
  },
  {
    name: 'zombie-driver',
    says: 'a driver is stopped for longer than its lease, its work is taken over, and then it wakes and goes on writing',
    scene: { timing: SHORT_LEASE },
    async strike(stage) {
      const runs = await steadyRuns(stage);
      const zombie = stage.drivers[0]!;
      const held = await liveAttempts(stage, zombie.instanceId);
      zombie.freeze();
      const sinceMs = monotonicMs();
      await lostBy(stage, zombie.instanceId, held);
      const recoveryMs = monotonicMs() - sinceMs;
      zombie.thaw();
      // It finds out by the answers to what it still says.
      const told = async () => {
        const entries = await stage.journal();
        return entries.some(
          (entry) => 'hear' in entry && entry.hear === 'welcome' && entry.atMs > sinceMs + recoveryMs,
        );
      };
      await eventually(told, 15_000);
      await Promise.all(runs.map((runId) => stage.finished(runId)));
      return { fired: held, recoveryMs };
    },
  },
  {
    name: 'rolling-restart',
    says: 'every replica is replaced under load, one after the other; no attempt is lost',
    async strike(stage) {
      await steadyRuns(stage);
      let replaced = 0;
      const sinceMs = monotonicMs();
      for (const place of stage.places) {
        const old = place.server();
        await place.start();
        if ((await old.stop()) === 0) replaced++;
        await stage.recovery(sinceMs, [place]);
      }
      const lost = await lostAttempts(stage);
      return {
        fired: replaced,
        recoveryMs: monotonicMs() - sinceMs,
        complaints: lost === 0 ? [] : [`${lost} attempts were lost in a restart`],
      };
    },
  },
];

/** Work that goes on for some seconds at every driver. Returns its runs once each has begun. */
async function steadyRuns(stage: Stage): Promise<string[]> {
  const place = stage.places.at(-1)!;
  const runs: string[] = [];
  for (let number = 0; number < 2 * stage.drivers.length; number++) {
    runs.push(await stage.createRun(place, steadyWork(`steady ${number} ${stage.random.next()}`, 3_000)));
  }
  const begun = async () => {
    const rows = await stage.system.query(
      `select 1 from attempts where run_id = any($1) and state = 'RUNNING' and log_size > 0`,
      [runs],
    );
    return rows.length === runs.length;
  };
  await eventually(begun, 2_500);
  return runs;
}

async function liveAttempts(stage: Stage, instance: string): Promise<number> {
  return (await attemptsOf(stage, instance, `a.state = 'RUNNING'`)).length;
}

/** Waits until an instance has lost as many attempts. */
async function lostBy(stage: Stage, instance: string, attempts: number): Promise<void> {
  const isLost = async () => (await attemptsOf(stage, instance, `a.state = 'LOST'`)).length >= attempts;
  await eventually(isLost, 15_000);
}

async function attemptsOf(stage: Stage, instance: string, condition: string): Promise<unknown[]> {
  return await stage.system.query(
    `select 1 from attempts a join instances i on i.no = a.instance_no where i.instance = $1 and ${condition}`,
    [instance],
  );
}

async function p4(stage: Stage, recoveryMs: number, limitMs: number): Promise<string[]> {
  const lost = await lostAttempts(stage);
  return [
    ...limitPassed('drivers at another replica', recoveryMs, limitMs),
    ...(lost === 0 ? [] : [`${lost} attempts were spent although no lease ran out`]),
  ];
}

/** 1 when the process is stopped, by the word of the kernel. */
async function isStopped(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return /^State:\s+T/m.test(status) ? 1 : 0;
}
