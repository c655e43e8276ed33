// The scene of one scenario: replicas at their places over one database, driver processes, clients that keep them busy and watchers
// that look on, all writing down what they are told. When it is over everything has stopped, and the checker has seen it.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { postmasterPid } from '../bench/ledger-recount.ts';
import { monotonicMs } from '../bench/monotonic-clock.ts';
import { openOwnDatabase } from '../e2e/own-database.ts';
import { openRawSession, type RawSession } from '../e2e/raw-driver.ts';
import { type DriverOptions, type DriverProcess, type RawOptions, startSystem, type System } from '../e2e/system.ts';
import { checkAll, type Violation } from './checker/check.ts';
import { type Evidence, type MemoryUse, type Planted, readRows } from './checker/evidence.ts';
import { type JournalEntry, openJournal, readJournals } from './drivers/journal.ts';
import { tapSessions } from './drivers/session-tap.ts';
import { layOutEarlier } from './earlier-build.ts';
import { eventually, untilTrue } from './eventually.ts';
import { runLoad } from './load/clients.ts';
import { type History, record, sightOf } from './load/history.ts';
import { type Observers, startObservers } from './load/observers.ts';
import { type Definition, driverName, poolName, probe, zones } from './load/shapes.ts';
import type { Place } from './place.ts';
import { openPlaces } from './places.ts';
import { newSecret, plantForeignRun } from './planted.ts';
import { preload } from './preload/preload.ts';
import { journalVariable, meddleVariable, skewVariable } from './preload/variables.ts';
import type { Random } from './random.ts';
import { type StageOptions, usual } from './stage-options.ts';
import { watchBacklog, watchMemory } from './watches.ts';

export interface Outcome {
  readonly operations: number;
  readonly violations: readonly Violation[];
}

export interface Stage extends AsyncDisposable {
  readonly random: Random;
  readonly kills: number;
  readonly idleMs: number;
  readonly system: System;
  readonly places: readonly Place[];
  readonly drivers: readonly DriverProcess[];
  readonly history: History;
  /** Whether the replicas were those of the earlier commit at first. */
  readonly isEarlier: boolean;
  startDriver(options?: Partial<DriverOptions>): Promise<DriverProcess>;
  openSession(place: Place, options: Omit<RawOptions, 'at'>): Promise<RawSession>;
  journal(): Promise<JournalEntry[]>;
  /** The process of the PostgreSQL of its own. */
  postmaster(): Promise<number>;
  /** Creates a run at a place and answers with its id once that is acknowledged; asks again while the answer is unknown. */
  createRun(place: Place, definition: Definition): Promise<string>;
  /** Waits for the end of a run. */
  finished(runId: string, withinMs?: number): Promise<void>;
  /** Waits until every given place takes a run and sees it through. Returns how long that took from the given time on. */
  recovery(sinceMs: number, places?: readonly Place[]): Promise<number>;
  /** Waits until the load has brought some more runs to their end. */
  flow(runs?: number): Promise<void>;
  /** Ends the load, lets everything come to its end, stops all processes in order and checks what is left. */
  close(): Promise<Outcome>;
}

/** How long a run may be asked for. */
const CREATE_MS = 30_000;
/** Every fifth run is watched more closely. */
const WATCHED = 5;
/** So many open runs keep the drivers busy; more would only take longer to end. */
const BACKLOG = 12;

export async function openStage(given: Partial<StageOptions> & Omit<StageOptions, keyof typeof usual>): Promise<Stage> {
  const options: StageOptions = { ...usual, ...given };
  const { random, openDatabase = options.ownDatabase ? openOwnDatabase : undefined } = options;
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'conveyor-faults-'));
  stack.defer(() => rm(directory, { recursive: true, force: true, maxRetries: 20 }));
  const history: History = { operations: [], observations: [] };
  const memory: MemoryUse[] = [];
  const secret = newSecret();
  let planted: Planted | undefined = undefined;
  let violations: readonly Violation[] = [];
  // The ways outlive who goes by them.
  const ways = stack.use(new AsyncDisposableStack());

  const system = stack.use(
    await startSystem({
      replicas: 0,
      timing: options.timing,
      ...(openDatabase !== undefined && { openDatabase: () => openDatabase(join(directory, 'database')) }),
      async verify(database) {
        if (planted === undefined) return;
        const journal = await readJournals(directory);
        const printed = (await Promise.all(system.replicas.map(({ errors }) => errors))).join('');
        const rows = await readRows(database);
        const evidence: Evidence = { history, journal, rows, planted, printed, memory, database };
        violations = await checkAll(evidence);
      },
    }),
  );
  const program = options.earlier && (await layOutEarlier(options.earlier, join(directory, 'earlier')));
  const places = await openPlaces(ways, system, options, secret, program ? { program } : {});
  stack.use(watchMemory(system, memory));
  stack.use(tapSessions({ write: openJournal(join(directory, 'raw.journal')) }));
  const drivers: DriverProcess[] = [];

  let begun = 0;

  async function startDriver(more: Partial<DriverOptions> = {}): Promise<DriverProcess> {
    const number = begun++;
    const started = await system.startDriver({
      name: driverName,
      addresses: places.map(({ door }) => door.address),
      labels: { zone: zones[number % zones.length]! },
      pools: { [poolName]: 1 },
      preload: [preload('tapped-sessions'), ...(options.driverSkewMs === 0 ? [] : [preload('skewed-clock')])],
      env: {
        [journalVariable]: join(directory, `driver-${number}.journal`),
        [skewVariable]: String(options.driverSkewMs),
        ...(options.meddle && { [meddleVariable]: String(random.below(2 ** 31)) }),
      },
      ...more,
    });
    drivers.push(started);
    return started;
  }

  await Promise.all(Array.from({ length: options.drivers }, () => startDriver()));
  const clients = places.map(({ client }) => client);
  const observers: Observers = stack.use(startObservers(history, clients));
  const loading = new AbortController();
  const backlog = stack.use(watchBacklog(system));
  let runs = 0;
  let load = Promise.resolve();
  const token = await system.token('driver');
  let asked = 0;

  const stage: Stage = {
    random,
    kills: options.kills,
    idleMs: options.idleMs,
    system,
    places,
    drivers,
    history,
    isEarlier: Boolean(program),
    startDriver,
    openSession: (place, { hello, silent = false }) =>
      openRawSession({
        address: place.door.address,
        token,
        hello: { instanceId: hello.driver, ...hello },
        silent,
      }),
    journal: () => readJournals(directory),
    postmaster: () => postmasterPid(join(directory, 'database')),
    async createRun(place, definition) {
      const requestId = `stage-${++asked}`;
      const request = { requestId, body: '' };
      const input = { requestId, definition, labels: { request: requestId, body: '' } };
      const untilMs = monotonicMs() + CREATE_MS;
      while (monotonicMs() < untilMs) {
        const told = await record(history, 'stage', { call: 'create', ...request }, async () => [
          sightOf(await place.client.runs.create(input)),
        ]);
        if (told.kind === 'refused') throw new Error(`a run was refused: ${told.reason}`);
        const runId = told.kind === 'done' ? told.runs[0]?.runId : undefined;
        if (runId !== undefined) return runId;
      }
      throw new Error(`${place.name} took no run within ${CREATE_MS} ms`);
    },
    async finished(runId, withinMs = 30_000) {
      const isOver = async () => {
        const [row] = await system.query<{ over: boolean }>(
          'select finished_ms is not null as over from runs where run_id = $1',
          [runId],
        );
        return row?.over === true;
      };
      await untilTrue(`the end of run ${runId}`, isOver, withinMs);
    },
    async recovery(sinceMs, at = places) {
      await Promise.all(at.map(async (place) => stage.finished(await stage.createRun(place, probe))));
      return monotonicMs() - sinceMs;
    },
    async flow(more = 8) {
      const before = await countEnded(system);
      await untilTrue('the flow of runs', async () => (await countEnded(system)) >= before + more, 60_000);
    },
    async close() {
      loading.abort();
      await load;
      await settle();
      const operations = history.operations.length + history.observations.length;
      await stage[Symbol.asyncDispose]();
      return { operations, violations };
    },
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };

  /** Everything comes to its end, and a client looks for what is not its own. */
  async function settle(): Promise<void> {
    // A row of the queue that somebody has in hand while its job is cancelled is dropped by whoever claims it next.
    const open = async () =>
      (
        await system.query(
          'select run_id from runs where finished_ms is null union all select run_id from queue limit 1',
        )
      ).length;
    await eventually(async () => (await open()) === 0, options.settleMs);
    const { client } = places[0]!;
    const foreignRunId = planted?.foreignRunId ?? '';
    await record(history, 'stranger', { call: 'get', runId: foreignRunId }, async () => [
      sightOf(await client.runs.get(foreignRunId)),
    ]);
    await record(history, 'stranger', { call: 'cancel', runId: foreignRunId, force: true }, async () => [
      sightOf(await client.runs.cancel(foreignRunId, { force: true })),
    ]);
    const last = await system.query<{ run_id: string; seq: number }>(
      `select run_id, seq from runs where project = 'default'`,
    );
    await observers.finish(new Map(last.map(({ run_id: runId, seq }) => [runId, seq])), options.settleMs / 2);
  }

  const probeId = await stage.createRun(places[0]!, probe);
  await stage.finished(probeId);
  planted = await plantForeignRun(system, probeId, secret);
  load = runLoad(
    {
      history,
      random: random.fork('load'),
      clients,
      workers: options.workers,
      pauseMs: options.pauseMs,
      isFull: () => backlog.runs() >= BACKLOG,
      onRun({ runId }) {
        if (runs++ % WATCHED === 0) observers.watch(runId, clients[runs % clients.length]!, clients[0]!);
      },
    },
    loading.signal,
  );
  stack.defer(async () => {
    loading.abort();
    await load;
  });
  const moved = stack.move();
  return stage;
}

async function countEnded(system: System): Promise<number> {
  const [row] = await system.query<{ ended: number }>(
    'select count(*) as ended from runs where finished_ms is not null',
  );
  return row?.ended ?? 0;
}
