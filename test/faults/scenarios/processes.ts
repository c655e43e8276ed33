// Replicas and drivers that are killed, frozen and restarted.
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '../../bench/monotonic-clock.ts';
import { eventually, untilTrue } from '../eventually.ts';
import type { Fault } from '../fault.ts';
import { steadyWork } from '../load/shapes.ts';
import { findHosting, limitPassed, lostAttempts, untilMoved } from '../sessions.ts';
import type { Stage } from '../stage.ts';

/** How long drivers may take to another replica when theirs was killed, and when it froze. */
const KILLED_LIMIT_MS = 5_000;
const FROZEN_LIMIT_MS = 15_000;
/** Until the work of a dead driver is offered again, with the lease that a server has by itself. */
const OFFERED_AGAIN_LIMIT_MS = 35_000;
const USUAL_LEASE = { leaseMs: 30_000, heartbeatMs: 5_000 };
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
    scene: { timing: USUAL_LEASE },
    async strike(stage) {
      const runs = await steadyRuns(stage);
      const victim = stage.drivers[0]!;
      const sinceMs = monotonicMs();
      const signal = await victim.kill();
      // What it had said before is heard.
      await delay(SHORT_LEASE.heartbeatMs);
      const held = await heldBy(stage, victim.instanceId);
      const recoveryMs = await offeredAgain(stage, held, sinceMs);
      await stage.startDriver();
      await Promise.all(runs.map((runId) => stage.finished(runId)));
      const complaints = limitPassed('the work of a dead driver', recoveryMs, OFFERED_AGAIN_LIMIT_MS);
      return { fired: signal === 'SIGKILL' ? held.length : 0, recoveryMs, complaints };
    },
  },
  {
    name: 'zombie-driver',
    says: 'a driver is stopped for longer than its lease, its work is taken over, and then it wakes and goes on writing',
    scene: { timing: SHORT_LEASE },
    async strike(stage) {
      const runs = await steadyRuns(stage);
      const zombie = stage.drivers[0]!;
      const sinceMs = monotonicMs();
      zombie.freeze();
      // What it had said before is heard.
      await delay(SHORT_LEASE.heartbeatMs);
      const held = await heldBy(stage, zombie.instanceId);
      const recoveryMs = await offeredAgain(stage, held, sinceMs);
      const stopped = await isStopped(zombie.pid);
      zombie.thaw();
      // It finds out by the answers to what it still says.
      const told = async () => {
        const entries = await stage.journal();
        return entries.some(
          (entry) => 'hear' in entry && entry.hear === 'welcome' && entry.atMs > sinceMs + recoveryMs,
        );
      };
      const complaints = (await eventually(told, 15_000)) ? [] : ['the driver that woke did not connect again'];
      await Promise.all(runs.map((runId) => stage.finished(runId)));
      return { fired: stopped * held.length, recoveryMs, complaints };
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

interface HeldAttempt {
  readonly run_id: string;
  readonly job: number;
  readonly attempt: number;
}

/** The attempts that an instance has begun, that none of its driver's words can end any more, and whose jobs need a free slot anywhere and nothing else. */
async function heldBy(stage: Stage, instance: string): Promise<HeldAttempt[]> {
  return await stage.system.query<HeldAttempt>(
    `select a.run_id, a.job, a.attempt from attempts a join instances i on i.no = a.instance_no
     join runs using (run_id) join definitions using (digest)
     where i.instance = $1 and a.state = 'RUNNING'
       and not (body -> 'jobs' -> a.job)::jsonb ?| array['selector', 'pool', 'concurrency', 'rateLimits']`,
    [instance],
  );
}

/** Waits until what an instance held was offered again, unless the load has cancelled it meanwhile. Returns how long that took from the given time on. */
async function offeredAgain(stage: Stage, held: readonly HeldAttempt[], sinceMs: number): Promise<number> {
  const keys = [held.map(({ run_id: runId }) => runId), held.map(({ job }) => job), held.map(({ attempt }) => attempt)];
  const isOffered = async () => {
    const rows = await stage.system.query(
      `select 1 from unnest($1::uuid[], $2::int[], $3::int[]) held (run_id, job, attempt)
       join jobs j on j.run_id = held.run_id and j.job = held.job
       where j.attempt > held.attempt or j.finished_ms is not null`,
      keys,
    );
    return rows.length === held.length;
  };
  await untilTrue('the next attempts of what was held', isOffered, 45_000);
  return monotonicMs() - sinceMs;
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
