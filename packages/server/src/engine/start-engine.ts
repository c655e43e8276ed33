// Builds the engine over a migrated database and starts its loops; disposing stops them in the opposite order. The connections are
// the caller's.
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Timing } from '../core/limits.ts';
import { RefusedError } from '../core/refusal.ts';
import type { Pools } from '../store/connect.ts';
import { ensureLogPartitions } from '../store/log-partitions.ts';
import { forgetOccurrences } from '../store/occurrence-rows.ts';
import { withConnection } from '../store/pool.ts';
import { forgetRequestIds } from '../store/run-rows.ts';
import { forgetScheduleRequests } from '../store/schedule-requests.ts';
import { forgetCommitMarks } from '../store/transaction.ts';
import { type Announcer, createAnnouncer } from './announce.ts';
import { createBackground } from './background.ts';
import { createCreates } from './creates.ts';
import { createDispatcher } from './dispatcher.ts';
import { createDriverQueries } from './driver-queries.ts';
import { createDriverSessions, STOPPING } from './driver-sessions.ts';
import type { Engine } from './engine.ts';
import { createFeedWatch } from './feed-watch.ts';
import { createFit } from './fit.ts';
import { openHints } from './hints.ts';
import { createJobOperations } from './job-operations.ts';
import { createLeases } from './leases.ts';
import { createLedger } from './ledger.ts';
import type { Log } from './log.ts';
import { createLogReader } from './log-reader.ts';
import { createLogWriter } from './log-writer.ts';
import { createComposeStart, type ResolveSecrets } from './offers.ts';
import { createPipelines } from './pipelines.ts';
import { createPlans } from './plans.ts';
import { repeat } from './repeat.ts';
import { joinReplicas } from './replica.ts';
import { createReruns } from './reruns.ts';
import { runRescue } from './rescue.ts';
import { createRunCache } from './run-cache.ts';
import { createRunCreation } from './run-creation.ts';
import { createRunOperations } from './run-operations.ts';
import { createRunQueries } from './run-queries.ts';
import { createRunWatch } from './run-watch.ts';
import { createScheduler } from './scheduler.ts';
import { createSchedules } from './schedules.ts';
import { createSessions } from './sessions.ts';
import { createSpecCheck } from './spec-check.ts';
import { createSpecSchemas } from './spec-schemas.ts';
import { buildOrUndo, type Teardown } from './teardown.ts';
import { createTimers } from './timers.ts';
import { createTokenReader } from './tokens.ts';
import { createWakeUps } from './wake-ups.ts';

/** How long sessions get to go elsewhere by themselves. */
const LEAVE_MS = 3_000;
const LEAVE_POLL_MS = 50;
const UPKEEP_MS = 600_000;
const REQUEST_ID_KEEP_MS = 24 * 3_600_000;
const COMMIT_MARK_KEEP_MS = 24 * 3_600_000;
const REQUEST_IDS_A_ROUND = 10_000;
const OCCURRENCE_KEEP_MS = 90 * 24 * 3_600_000;
const OCCURRENCES_A_ROUND = 10_000;

export interface EngineOptions {
  readonly pools: Pools;
  /** The schema that holds the tables: names the channel of the hints. */
  readonly schema: string;
  readonly version: string;
  readonly timing: Timing;
  readonly resolveSecrets?: ResolveSecrets | undefined;
  readonly log: Log;
}

/** Disposing ends the sessions that are left and finishes what is in flight. */
export type RunningEngine = Engine & AsyncDisposable;

export function startEngine(options: EngineOptions): Promise<RunningEngine> {
  return buildOrUndo((stack) => build(stack, options));
}

async function build(
  stack: Teardown,
  { pools, schema, version, timing, resolveSecrets, log }: EngineOptions,
): Promise<RunningEngine> {
  const { pool } = pools;
  const { leaseMs } = timing;
  await withConnection(pool, ensureLogPartitions);
  const replica = stack.use(await joinReplicas({ pool, id: randomUUID(), version, leaseMs, log }));
  const stopping = new AbortController();
  const loops: Promise<void>[] = [];
  const wakeUps = createWakeUps();
  const plans = createPlans();
  const flushing = { plans, cache: createRunCache() };
  const sessions = createSessions(pool, log);
  const checkSpecs = createSpecCheck({ pool });
  const fit = createFit(plans);
  // The announcer is needed by the lanes, and needs what is built on them.
  const late: { announcer?: Announcer } = {};
  const onCommitted: Announcer['committed'] = (works) => late.announcer?.committed(works);

  const ledger = stack.use(createLedger({ lane: pools.openLane('transitions'), flushing, onCommitted }));
  const creates = stack.use(
    createCreates({
      lane: pools.openLane('creates'),
      largeLane: pools.openLane('large creates'),
      flushing,
      onCreated: (runs) => late.announcer?.created(runs),
    }),
  );
  const logWriter = stack.use(
    createLogWriter({
      lane: pools.openLane('logs'),
      onGrown: ({ runId, job }) => late.announcer?.logGrown(`log:${runId}.${job}`),
    }),
  );
  const leases = stack.use(createLeases(pools.openLane('leases'), timing));
  const background = stack.use(createBackground(log));
  const timers = createTimers(pool, ledger, log);
  const dispatcher = createDispatcher({
    lane: pools.openLane('claims'),
    flushing,
    sessions,
    fit,
    log,
    onCommitted,
  });
  const hints = stack.use(
    openHints({
      pools,
      channel: `conveyor_${schema}`,
      replica: replica.id,
      wakeUps,
      hasPeers: () => replica.hasPeers(),
      onQueue: (driver) => (driver === undefined ? dispatcher.wakeAll() : dispatcher.wake(driver)),
      onInstances: (instances) => background.run(() => sessions.compare(instances)),
      log,
    }),
  );
  late.announcer = createAnnouncer({ wakeUps, hints, sessions, dispatcher, timers });

  const composeStart = createComposeStart(pool, resolveSecrets);
  const driverQueries = createDriverQueries({ pool });
  const driverSessions = createDriverSessions({
    pool,
    plans,
    ledger,
    composeStart,
    schemas: createSpecSchemas(),
    replica: replica.id,
    timing,
    sessions,
    leases,
    logWriter,
    background,
    fit,
    hints,
    log,
    queries: driverQueries,
    wake: (driver) => dispatcher.wake(driver),
    stopping: () => stopping.signal.aborted,
  });
  const reruns = createReruns({ pool, plans, creates });
  const creation = createRunCreation({ pool, creates, checkSpecs });
  const scheduler = createScheduler({ pool, ledger, creation, log });
  const tokens = createTokenReader({ pool });

  async function upkeep(): Promise<void> {
    await withConnection(pool, async (tx) => {
      await ensureLogPartitions(tx);
      await forgetRequestIds(tx, Date.now() - REQUEST_ID_KEEP_MS, REQUEST_IDS_A_ROUND);
      await forgetScheduleRequests(tx, Date.now() - REQUEST_ID_KEEP_MS, REQUEST_IDS_A_ROUND);
      await forgetOccurrences(tx, Date.now() - OCCURRENCE_KEEP_MS, OCCURRENCES_A_ROUND);
      await forgetCommitMarks(tx, Date.now() - COMMIT_MARK_KEEP_MS);
    });
  }

  const { signal } = stopping;
  loops.push(
    dispatcher.run(signal),
    timers.run(signal),
    scheduler.run(signal),
    sessions.run(signal),
    hints.run(signal),
    replica.run(signal),
    runRescue({ pool, ledger, leaseMs, log }, signal),
    repeat(signal, UPKEEP_MS, upkeep, log),
  );
  stack.defer(async () => {
    stopping.abort(new RefusedError(STOPPING));
    for (const session of sessions.all()) session.end(STOPPING);
    await Promise.all(loops);
  });

  return {
    replica: replica.id,
    timing,
    pipelines: createPipelines({ pool, checkSpecs }),
    runs: createRunOperations({
      queries: createRunQueries({ pool, plans }),
      watch: createRunWatch({ pool, plans, wakeUps }),
      feed: createFeedWatch({ pool, wakeUps }),
      creation,
      reruns,
      ledger,
    }),
    jobs: createJobOperations({ pool, plans, ledger, reruns, logs: createLogReader({ pool, plans, wakeUps }) }),
    drivers: { ...driverQueries, ...driverSessions },
    schedules: createSchedules({ pool, creation, scheduler }),
    authenticateToken: (token) => tokens.authenticateToken(token),
    ready: () => replica.isConnected() && !stopping.signal.aborted,
    async drainSessions(abort) {
      for (const session of sessions.all()) session.goAway();
      const untilMs = performance.now() + LEAVE_MS;
      while (sessions.count() > 0 && performance.now() < untilMs && !abort.aborted) await delay(LEAVE_POLL_MS);
      for (const session of sessions.all()) session.end(STOPPING);
    },
    [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose](),
  };
}
