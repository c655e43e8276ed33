// Builds the engine over a migrated database and starts its loops; disposing stops them in the opposite order. The connections are
// the caller's.
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { capabilitiesOf } from '../core/capabilities.ts';
import { LIMITS, type Timing } from '../core/limits.ts';
import { type QueueShares, weightsOf } from '../core/queue-shares.ts';
import { RefusedError } from '../core/refusal.ts';
import type { Retention } from '../core/retention.ts';
import type { Pools } from '../store/connect.ts';
import { ensureLogPartitions } from '../store/log-partitions.ts';
import { withConnection } from '../store/pool.ts';
import { type Announcer, createAnnouncer } from './announce.ts';
import { createBackground } from './background.ts';
import { createAppendCheck } from './append-check.ts';
import { createCallCheck } from './call-check.ts';
import { createCalls } from './calls.ts';
import { createCreates } from './creates.ts';
import { createDemandReader } from './demand-reader.ts';
import { createDemandWatch } from './demand-watch.ts';
import { createDispatcher } from './dispatcher.ts';
import { createDrain } from './drain.ts';
import { createDriverQueries } from './driver-queries.ts';
import { createDriverSchemas } from './driver-schemas.ts';
import { createDriverSessions, STOPPING } from './driver-sessions.ts';
import type { Engine } from './engine.ts';
import { createFeedWatch } from './feed-watch.ts';
import { createFit } from './fit.ts';
import { createGroupQueries } from './group-queries.ts';
import { openHints } from './hints.ts';
import { createHoldBacks } from './hold-backs.ts';
import { createJobOperations } from './job-operations.ts';
import { createLeases } from './leases.ts';
import { createLedger } from './ledger.ts';
import type { Log } from './log.ts';
import { createLogReader } from './log-reader.ts';
import { createLogWriter } from './log-writer.ts';
import { createComposeStart, type ResolveSecrets } from './offers.ts';
import { createOutputsCheck } from './outputs-check.ts';
import { createPipelines } from './pipelines.ts';
import { createPlaces } from './places.ts';
import { createPlans } from './plans.ts';
import { createQueuePauses } from './queue-pauses.ts';
import { whyTooOld } from './refusals.ts';
import { joinReplicas } from './replica.ts';
import { createReruns } from './reruns.ts';
import { runRescue } from './rescue.ts';
import { createRunArtifacts } from './run-artifacts.ts';
import { createRunCache } from './run-cache.ts';
import { createRunCreation } from './run-creation.ts';
import { createRunDeletion } from './run-deletion.ts';
import { createRunHistory } from './run-history.ts';
import { createRunPlans } from './run-plans.ts';
import { createRunOperations } from './run-operations.ts';
import { createRunQueries } from './run-queries.ts';
import { createRunValues } from './run-values.ts';
import { createRunVerification } from './run-verification.ts';
import { createRunWatch } from './run-watch.ts';
import { createScheduler } from './scheduler.ts';
import { createSchedules } from './schedules.ts';
import { createSessions } from './sessions.ts';
import { createSpecCheck } from './spec-check.ts';
import { createSpecSchemas } from './spec-schemas.ts';
import { buildOrUndo, type Teardown } from './teardown.ts';
import { createTimers } from './timers.ts';
import { createTokenReader } from './tokens.ts';
import { runUpkeep } from './upkeep.ts';
import { createWakeUps } from './wake-ups.ts';

/** How long a statement may take that stores a run of thousands of jobs. */
const LARGE_CREATE_MS = 20_000;
/** How long a replica may take to say that it is there: the first to notice a silent database. */
const PRESENCE_MS = 2_000;
/** How long a renewal of leases may take: a replica has tried twice before it sends its drivers elsewhere. */
const RENEWAL_MS = 3_000;
/** How long a stop waits for what is in flight before it cuts it off from the database. */
const STOP_MS = 5_000;
/** How long sessions get to go elsewhere by themselves. */
const LEAVE_MS = 3_000;
const LEAVE_POLL_MS = 50;

export interface EngineOptions {
  readonly pools: Pools;
  /** The schema that holds the tables: names the channel of the hints. */
  readonly schema: string;
  readonly version: string;
  readonly timing: Timing;
  /** The largest log of an attempt, in bytes. Default: 1 GiB. */
  readonly maxLogBytes?: number;
  /** Default: everything is kept. */
  readonly retention?: Retention;
  /** Default: 1 for each. */
  readonly queueShares?: QueueShares;
  readonly resolveSecrets?: ResolveSecrets | undefined;
  readonly log: Log;
}

/** Disposing ends the sessions that are left and finishes what is in flight; what does not finish in time fails. */
export type RunningEngine = Engine & AsyncDisposable;

export function startEngine(options: EngineOptions): Promise<RunningEngine> {
  return buildOrUndo((stack) => build(stack, options));
}

async function build(stack: Teardown, options: EngineOptions): Promise<RunningEngine> {
  const { pools, schema, version, timing, resolveSecrets, log } = options;
  const { maxLogBytes = LIMITS.logBytes, retention = {}, queueShares = {} } = options;
  const { pool } = pools;
  const { leaseMs } = timing;
  await withConnection(pool, ensureLogPartitions);
  const lane = pools.openLane('presence', { statementTimeoutMs: PRESENCE_MS });
  const replica = stack.use(await joinReplicas({ pool, lane, id: randomUUID(), version, leaseMs, log }));
  const stopping = new AbortController();
  const loops: Promise<void>[] = [];
  const wakeUps = createWakeUps();
  const plans = createPlans();
  const schemas = createDriverSchemas(pool);
  const eventVersion = (): number => replica.eventVersion();
  const flushing = { plans, cache: createRunCache(), schemas, eventVersion };
  const sessions = createSessions(pool, log);
  const checkSpecs = createSpecCheck(schemas);
  const checkCalls = createCallCheck(pool);
  const fit = createFit(plans);
  // The announcer is needed by the lanes, and needs what is built on them.
  const late: { announcer?: Announcer } = {};
  const onCommitted: Announcer['committed'] = (works) => late.announcer?.committed(works);

  const ledger = stack.use(
    createLedger({
      lane: pools.openLane('transitions'),
      patientLane: pools.openLane('patient transitions'),
      flushing,
      onCommitted,
    }),
  );
  const creates = stack.use(
    createCreates({
      lane: pools.openLane('creates'),
      largeLane: pools.openLane('large creates', { statementTimeoutMs: LARGE_CREATE_MS }),
      flushing,
      onCreated: (runs) => late.announcer?.created(runs),
    }),
  );
  const logWriter = stack.use(
    createLogWriter({
      lane: pools.openLane('logs'),
      maxLogBytes,
      onGrown: ({ runId, job }) => late.announcer?.logGrown(`log:${runId}.${job}`),
    }),
  );
  const leases = stack.use(createLeases(pools.openLane('leases', { statementTimeoutMs: RENEWAL_MS }), timing));
  const background = stack.use(createBackground(log));
  const creation = createRunCreation({ pool, creates, checkSpecs, checkCalls, replica });
  const calls = createCalls({ pool, plans, ledger, creation, log });
  const places = createPlaces({ pool, ledger, log });
  const timers = createTimers({ pool, ledger, eventVersion, log });
  const dispatcher = createDispatcher({
    lane: pools.openLane('claims'),
    flushing,
    sessions,
    fit,
    plans,
    weightOf: weightsOf(queueShares),
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
      onQueue(driver) {
        if (driver === undefined) dispatcher.wakeAll();
        else dispatcher.wake(driver);
        wakeUps.ring('queues');
      },
      onInstances: (instances) => background.run(() => sessions.compare(instances)),
      log,
    }),
  );
  late.announcer = createAnnouncer({ wakeUps, hints, sessions, dispatcher, timers, calls, places });

  const values = createRunValues({ pool, replica });
  const composeStart = createComposeStart(pool, resolveSecrets);
  const driverSessions = createDriverSessions({
    pool,
    plans,
    ledger,
    composeStart,
    checkOutputs: createOutputsCheck(),
    values,
    checkAppended: createAppendCheck({ pool, plans, checkSpecs, checkCalls }),
    whyTooOld: (version) => whyTooOld(replica.oldest(), version),
    capabilities: () => capabilitiesOf(replica.eventVersion()),
    schemas: createSpecSchemas(),
    replica: replica.id,
    timing,
    maxLogBytes,
    sessions,
    leases,
    logWriter,
    background,
    fit,
    hints,
    log,
    wake: (driver) => dispatcher.wake(driver),
    stopping: () => stopping.signal.aborted,
  });
  const holdBacks = createHoldBacks(ledger, replica);
  const reruns = createReruns({ pool, plans, creates, replica });
  const scheduler = createScheduler({ pool, ledger, creation, log });
  const history = createRunHistory({ pool, plans });
  const tokens = createTokenReader({ pool });
  const demand = createDemandWatch({ read: createDemandReader({ pool, plans }), wakeUps });
  const deletion = createRunDeletion({ pool, onDeleted: (runIds) => late.announcer?.deleted(runIds) });

  const { signal } = stopping;
  loops.push(
    dispatcher.run(signal),
    timers.run(signal),
    scheduler.run(signal),
    calls.run(signal),
    places.run(signal),
    sessions.run(signal),
    hints.run(signal),
    replica.run(signal),
    demand.run(signal),
    runRescue({ pool, ledger, leaseMs, log }, signal),
    runUpkeep({ pool, retention, deletion, log }, signal),
  );
  stack.defer(async () => {
    stopping.abort(new RefusedError(STOPPING));
    for (const session of sessions.all()) session.end(STOPPING);
    await Promise.all(loops);
  });

  return {
    replica: replica.id,
    timing,
    maxLogBytes,
    pipelines: createPipelines({ pool, checkSpecs, checkCalls, replica }),
    runs: createRunOperations({
      queries: createRunQueries({ pool, plans }),
      history: history.runs,
      watch: createRunWatch({ pool, plans, wakeUps }),
      feed: createFeedWatch({ pool, wakeUps }),
      deletion,
      verification: createRunVerification(pool),
      planning: createRunPlans({ pool, plans, schemas, creation }),
      artifacts: createRunArtifacts({ pool, plans }),
      creation,
      reruns,
      ledger,
      holdBacks,
    }),
    jobs: createJobOperations({
      pool,
      plans,
      ledger,
      holdBacks,
      reruns,
      history: history.jobs,
      logs: createLogReader({ pool, plans, wakeUps }),
    }),
    groups: createGroupQueries({ pool }),
    drivers: {
      ...createDriverQueries({ pool }),
      ...driverSessions,
      ...createDrain({ pool, ledger, sessions, hints }),
      ...createQueuePauses({ pool, dispatcher, hints, wakeUps }),
      watchDemand: demand.watchDemand,
    },
    values,
    schedules: createSchedules({ pool, creation, scheduler }),
    authenticateToken: (token) => tokens.authenticateToken(token),
    ready: () => replica.isConnected() && !stopping.signal.aborted,
    async drainSessions(abort) {
      for (const session of sessions.all()) session.goAway();
      const untilMs = performance.now() + LEAVE_MS;
      while (sessions.count() > 0 && performance.now() < untilMs && !abort.aborted) await delay(LEAVE_POLL_MS);
      for (const session of sessions.all()) session.end(STOPPING);
    },
    async [Symbol.asyncDispose]() {
      // What waits for a database that is away, or for a lock, would keep this process for ever.
      const timer = setTimeout(() => {
        log.warn({ afterMs: STOP_MS }, 'what is in flight does not end: cutting it off from the database');
        pools.sever();
      }, STOP_MS);
      try {
        await stack[Symbol.asyncDispose]();
      } finally {
        clearTimeout(timer);
      }
    },
  };
}
