// A database that answers late, not at all, or that it cannot: it was filled, made read-only, or somebody keeps an old snapshot in it.
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import {
  asAdministrator,
  createTestDatabase,
  type TestDatabase,
} from '../../../packages/server/src/store/testing/database.ts';
import { monotonicMs } from '../../bench/monotonic-clock.ts';
import { openOwnDatabase } from '../../e2e/own-database.ts';
import { mountSmallDisk, type SmallDisk } from '../../e2e/small-disk.ts';
import type { Fault, Struck } from '../fault.ts';
import { probe, steadyWork } from '../load/shapes.ts';
import { limitPassed, lostAttempts } from '../sessions.ts';
import type { Stage } from '../stage.ts';
import { refusedSince, untilRefused } from '../told.ts';
import { RESUMES_WITHIN_MS } from './failover.ts';

const DISK_MIB = 320;
/** How many runs come and go beside an old snapshot. */
const RUNS = 100;
/** A lease that is over before the outage is. */
const SHORT_LEASE = { leaseMs: 3_000, heartbeatMs: 500 };

function diskFull(): Fault {
  let disk: SmallDisk | undefined;

  async function openDatabase(): Promise<TestDatabase> {
    const mounted = await mountSmallDisk(DISK_MIB);
    if (typeof mounted === 'string') {
      console.error(`database-disk-full: ${mounted}: writes are refused in the database instead`);
      disk = undefined;
      return await createTestDatabase();
    }
    disk = mounted;
    const database = await openOwnDatabase(`${mounted.directory}/data`);
    return {
      config: database.config,
      async [Symbol.asyncDispose]() {
        await mounted.free();
        await database[Symbol.asyncDispose]();
        await mounted[Symbol.asyncDispose]();
      },
    };
  }

  return {
    name: 'database-disk-full',
    says: 'the disk of the database is full, and then it is not',
    scene: { openDatabase },
    async strike(stage) {
      const full = disk ?? refusedWrites(stage);
      const beganMs = monotonicMs();
      await full.fill();
      await untilRefused(stage, beganMs);
      const fired = refusedSince(stage, beganMs);
      await full.free();
      return await resumed(stage, fired, monotonicMs());
    },
  };
}

/** Has the database refuse what needs room as a full disk does. */
function refusedWrites({ system }: Stage): Pick<SmallDisk, 'fill' | 'free'> {
  const tables = ['events', 'log_chunks', 'queue'];
  return {
    async fill() {
      await system.query(`create function full_disk() returns trigger language plpgsql as
        $$ begin raise exception 'no space left' using errcode = '53100'; end $$`);
      for (const table of tables) {
        await system.query(
          `create trigger full_disk before insert on ${table} for each statement execute function full_disk()`,
        );
      }
      return 0;
    },
    async free() {
      await system.query('drop function full_disk() cascade');
    },
  };
}

/** Sees to the end of a fault, which costs time and no attempt. */
async function resumed(stage: Stage, fired: number, sinceMs: number): Promise<Struck> {
  const recoveryMs = await stage.recovery(sinceMs);
  const lost = await lostAttempts(stage);
  return {
    fired,
    recoveryMs,
    complaints: [
      ...limitPassed('service after the database', recoveryMs, RESUMES_WITHIN_MS),
      ...(lost === 0 ? [] : [`${lost} attempts were spent`]),
    ],
  };
}

export const databaseFaults: readonly Fault[] = [
  diskFull(),
  {
    name: 'slow-disk',
    says: 'everything that the database answers comes late',
    async strike(stage) {
      for (const { database } of stage.places) database.set({ delayMs: 120 }, 'outward');
      const place = stage.places[0]!;
      const runs = [await stage.createRun(place, probe), await stage.createRun(place, steadyWork('slow disk', 2_000))];
      for (const runId of runs) await stage.finished(runId);
      const fired = stage.places.reduce((sum, { database }) => sum + database.harm(), 0);
      for (const { database } of stage.places) database.set('open');
      return await resumed(stage, fired, monotonicMs());
    },
  },
  {
    name: 'half-open-to-database',
    says: 'the database loses every connection, and no replica is told',
    async strike(stage) {
      const sinceMs = monotonicMs();
      const fired = stage.places.reduce((sum, { database }) => sum + database.dangle(), 0);
      return await resumed(stage, fired, sinceMs);
    },
  },
  {
    name: 'outage-beyond-lease',
    says: 'the network to the database swallows everything for longer than a lease',
    scene: { timing: SHORT_LEASE },
    async strike(stage) {
      const before = stage.places.reduce((sum, { database }) => sum + database.harm(), 0);
      for (const { database } of stage.places) database.set('lost');
      await delay(SHORT_LEASE.leaseMs + 3_000);
      for (const { database } of stage.places) database.set('open');
      const fired = stage.places.reduce((sum, { database }) => sum + database.harm(), 0) - before;
      return await resumed(stage, fired, monotonicMs());
    },
  },
  {
    name: 'read-only-database',
    says: 'the database takes no writes any more, and then it does',
    async strike(stage) {
      const beganMs = monotonicMs();
      await administer(stage, 'alter database % set default_transaction_read_only = on');
      for (const { database } of stage.places) database.sever();
      await untilRefused(stage, beganMs);
      const fired = refusedSince(stage, beganMs);
      await administer(stage, 'alter database % reset all');
      return await resumed(stage, fired, monotonicMs());
    },
  },
  {
    name: 'idle-transaction',
    says: 'transactions stay open all the while, one here and one that has written in another database',
    async strike(stage) {
      await using here = await idle(stage.system.database.connection, 'select count(*) from runs');
      await using elsewhere = await idle(otherDatabase(stage), 'select pg_current_xact_id()');
      const place = stage.places[0]!;
      // As many dead rows as come together in a while, which nothing may clean up.
      await place.client.runs.createBatch(
        Array.from({ length: RUNS }, () => ({ definition: probe })),
        { timeoutMs: 0 },
      );
      await stage.flow(RUNS);
      const untilMs = monotonicMs() + stage.idleMs;
      while (monotonicMs() < untilMs) await stage.flow();
      const recoveryMs = await stage.recovery(monotonicMs());
      const stillIdle = (await here.isIdle()) && (await elsewhere.isIdle());
      const complaints = limitPassed('a run among dead rows', recoveryMs, RESUMES_WITHIN_MS);
      return { fired: stillIdle ? 2 : 0, recoveryMs, complaints };
    },
  },
];

interface IdleTransaction extends AsyncDisposable {
  /** Whether it still has its transaction. */
  isIdle(): Promise<boolean>;
}

/** A session that keeps a transaction open, with its snapshot. */
async function idle(connectionString: string, sql: string): Promise<IdleTransaction> {
  const client = new Client({ connectionString, application_name: 'conveyor idle' });
  // Its server may be stopped under it.
  client.on('error', () => undefined);
  await client.connect();
  await client.query('begin isolation level repeatable read');
  await client.query('set local search_path = conveyor');
  await client.query(sql);
  return {
    async isIdle() {
      await client.query('select 1');
      return client.getTransactionStatus() === 'T';
    },
    async [Symbol.asyncDispose]() {
      await client.end();
    },
  };
}

/** Runs a statement from another database; `%` stands for this one's name. */
async function administer(stage: Stage, sql: string): Promise<void> {
  const name = new URL(stage.system.database.connection).pathname.slice(1);
  await asAdministrator(otherDatabase(stage), (client) => client.query(sql.replaceAll('%', name)));
}

function otherDatabase({ system }: Stage): string {
  const url = new URL(system.database.connection);
  url.pathname = '/postgres';
  return url.href;
}
