// The lane on which runs begin: everything of many new runs in one transaction of a few statements. A run is decided on before it
// is stored, by the same decide() as everything later.
import { randomBytes } from 'node:crypto';
import type { Command } from '../core/commands.ts';
import { decide } from '../core/decide.ts';
import type { Definition } from '../core/definition.ts';
import { beforeFirstEvent } from '../core/evolve.ts';
import type { RunEvent } from '../core/events.ts';
import { makeRunId, type RunId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { isGroup, type Plan, plannedJob } from '../core/plan.ts';
import type { RunFacts, RunSlice } from '../core/run-state.ts';
import { overloaded, type Refusal } from '../core/refusal.ts';
import { dueOf } from '../core/alarms.ts';
import type { Labels, RunView } from '../core/views.ts';
import { enqueue, type QueueInsert } from '../store/queue-rows.ts';
import { changeCalls } from '../store/call-rows.ts';
import { changeMembers } from '../store/group-rows.ts';
import { changeRateWaiters } from '../store/rate-rows.ts';
import { DEFINITION_TRUST_MS, type DefinitionDigest, digestOf, insertDefinitions } from '../store/definition-rows.ts';
import type { Lane } from '../store/lane.ts';
import { insertJobs, type JobWrite } from '../store/job-rows.ts';
import { type EventWrite, insertEvents, readClock } from '../store/ledger-rows.ts';
import { claimRequestIds, findRequestIds, insertRuns, type RunInsert } from '../store/run-rows.ts';
import type { Tx } from '../store/sql.ts';
import { inTransaction } from '../store/transaction.ts';
import { callChanges } from './call-changes.ts';
import type { DriverSchemas } from './driver-schemas.ts';
import type { FlushOptions } from './flush.ts';
import type { CreatedRun } from './created-run.ts';
import { createGroupCommit } from './group-commit.ts';
import { type StartChange, startChange, type StartsChanged, startsChanged } from './member-changes.ts';
import { createTurns } from './pace.ts';
import { queueEntry } from './queue-entry.ts';
import { answerAgain } from './request-ids.ts';
import type { RunContext } from './run-context.ts';
import { driversToAsk, specProblems } from './spec-check.ts';

const MAX_FLUSH = 500;
/** Runs of more jobs go by a lane of their own, so that nobody waits behind them. */
const LARGE_JOBS = 500;
/** Jobs of one flush; one run may have more, and then is alone. */
const MAX_JOBS = 2_000;

/** Behind so many runs the size of each that comes is counted. */
const UNCOUNTED_RUNS = 200;

/** A run that has passed every check. */
export interface CheckedRun {
  readonly project: string;
  readonly digest: DefinitionDigest;
  readonly definition: Definition;
  readonly command: Extract<Command, { type: 'Create' }>;
  readonly params: JsonObject;
  readonly labels: Labels;
  readonly traceparent: string;
  readonly request: { readonly id: string; readonly bodyDigest: Uint8Array } | undefined;
}

export interface Creates extends AsyncDisposable {
  /** Stores a run and resolves once it is committed; with an earlier one when its request id is a repetition. */
  create(run: CheckedRun): Promise<CreatedRun | Refusal>;
}

export interface CreatesOptions {
  readonly lane: Lane;
  readonly largeLane: Lane;
  readonly flushing: FlushOptions;
  /** Hears of new runs after their commit: the projects and the drivers whose queues grew. */
  readonly onCreated: (runs: readonly NewRunNotice[]) => void;
}

export interface NewRunNotice {
  readonly runId: RunId;
  readonly drivers: readonly string[];
  /** When time alone changes one of its jobs next. */
  readonly dueMs: number | undefined;
  /** Whether it makes other runs. */
  readonly calls: boolean;
  /** What its jobs wait for. */
  readonly starts: StartsChanged;
}

interface Item {
  readonly run: CheckedRun;
  readonly runId: RunId;
  readonly plan: Plan;
  answer(created: CreatedRun | Refusal): void;
  readonly fail: (error: unknown) => void;
}

interface Outcome {
  readonly answers: ReadonlyMap<Item, CreatedRun | Refusal>;
  readonly begun: readonly BegunRun[];
  /** The definitions that it made sure of. */
  readonly defined: Iterable<DefinitionDigest>;
}

/** A new run and the rows that it begins with. */
interface BegunRun {
  readonly context: RunContext;
  readonly after: RunSlice;
  readonly run: RunInsert;
  readonly jobs: readonly JobWrite[];
  readonly events: readonly EventWrite[];
  readonly queue: readonly QueueInsert[];
  readonly starts: readonly StartChange[];
  readonly notice: NewRunNotice;
  readonly view: RunView;
}

export function createCreates({ lane, largeLane, flushing, onCreated }: CreatesOptions): Creates {
  // Until when definitions that are committed may be relied on, by digest; forgotten together when there are many.
  const stored = new Map<DefinitionDigest, number>();

  let waitingBytes = 0;

  async function flush(on: Lane, items: readonly Item[], signal: AbortSignal): Promise<readonly Item[]> {
    const { now, later } = withinJobs(items);
    const untilMs = performance.now() + DEFINITION_TRUST_MS;
    const { answers, begun, defined } = await inTransaction(
      on,
      (tx, begun) => insertAll(tx, begun, now, stored, flushing.schemas),
      signal,
    );
    if (stored.size > 10_000) stored.clear();
    for (const digest of defined) stored.set(digest, untilMs);
    for (const { context, after } of begun) flushing.cache.keep(context, undefined, after.run, after.jobs);
    onCreated(begun.map(({ notice }) => notice));
    for (const [item, answer] of answers) item.answer(answer);
    return later;
  }

  const groupOn = (on: Lane) =>
    createGroupCommit<Item>({
      maxItems: MAX_FLUSH,
      flush: (items, signal) => flush(on, items, signal),
      fail: (item, error) => item.fail(error),
    });
  const group = groupOn(lane);
  const largeGroup = groupOn(largeLane);

  return {
    create(run) {
      const waiting = group.waiting() + largeGroup.waiting();
      if (waiting >= LIMITS.pendingCommands) return Promise.reject(overloaded(`${LIMITS.pendingCommands} runs`));
      const bytes = waiting < UNCOUNTED_RUNS ? 0 : bytesOf(run);
      if (waitingBytes + bytes > LIMITS.pendingCreateBytes) {
        return Promise.reject(overloaded(`${LIMITS.pendingCreateBytes} bytes of new runs`));
      }
      const plan = flushing.plans.put(run.digest, run.definition);
      const runId = makeRunId(Date.now(), randomBytes(10));
      const chosen = isLarge(plan) ? largeGroup : group;
      waitingBytes += bytes;
      return new Promise<CreatedRun | Refusal>((answer, fail) =>
        chosen.add({ run, runId, plan, answer, fail }),
      ).finally(() => {
        waitingBytes -= bytes;
      });
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([group[Symbol.asyncDispose](), largeGroup[Symbol.asyncDispose]()]);
    },
  };
}

/** How many jobs a matrix makes is not known before. */
function isLarge({ jobs }: Plan): boolean {
  return jobs.length > LARGE_JOBS || jobs.some(isGroup);
}

/** What a run that waits keeps in memory, roughly. */
function bytesOf({ definition, params, labels }: CheckedRun): number {
  return JSON.stringify([definition, params, labels]).length;
}

function withinJobs(items: readonly Item[]): { now: readonly Item[]; later: readonly Item[] } {
  let jobs = 0;
  const end = items.findIndex((item, index) => {
    jobs += isLarge(item.plan) ? MAX_JOBS : item.plan.jobs.length;
    return index > 0 && jobs > MAX_JOBS;
  });
  return end === -1 ? { now: items, later: [] } : { now: items.slice(0, end), later: items.slice(end) };
}

async function insertAll(
  tx: Tx,
  begun: Promise<unknown>,
  items: readonly Item[],
  stored: ReadonlyMap<DefinitionDigest, number>,
  schemas: DriverSchemas,
): Promise<Outcome> {
  const [answers, nowMs] = await Promise.all([
    settleRequestIds(tx, items),
    // Statements run in the order in which they are sent, so this is the time after the ids were claimed.
    readClock(tx),
    begun,
  ]);
  const fresh = items.filter((item) => !answers.has(item));
  const definitions = new Map<DefinitionDigest, Definition>();
  for (const { run } of fresh) {
    if ((stored.get(run.digest) ?? 0) < performance.now()) definitions.set(run.digest, run.definition);
  }
  const drivers = new Set(fresh.flatMap(({ plan }) => [...driversToAsk(plan)]));
  const specProblem = drivers.size === 0 ? undefined : await specProblems(schemas, drivers);
  const turns = createTurns();
  const runs: BegunRun[] = [];
  for (const item of fresh) {
    runs.push(beginRun(item, nowMs, specProblem));
    await turns();
  }
  for (const { run, context } of runs) {
    // One that has grown at once.
    if (context.plan.definition.added !== undefined) definitions.set(run.digest, context.plan.definition);
  }
  const calls = runs.flatMap(({ context, events }) => callChanges(context, events));
  const starts = runs.flatMap((run) => run.starts);
  const members = starts.flatMap(({ member }) => member ?? []);
  const rateWaits = starts.flatMap(({ rateWait }) => rateWait ?? []);
  fresh.forEach((item, i) => answers.set(item, { runId: item.runId, view: runs[i]?.view }));
  if (runs.length > 0) {
    await Promise.all([
      definitions.size > 0 && insertDefinitions(tx, definitions, nowMs),
      calls.length > 0 && changeCalls(tx, calls),
      members.length > 0 && changeMembers(tx, members),
      rateWaits.length > 0 && changeRateWaiters(tx, rateWaits),
      insertRuns(
        tx,
        runs.map(({ run }) => run),
      ),
      insertJobs(
        tx,
        runs.flatMap(({ jobs }) => jobs),
      ),
      insertEvents(
        tx,
        runs.flatMap(({ events }) => events),
      ),
      enqueue(
        tx,
        runs.flatMap(({ queue }) => queue),
      ),
    ]);
  }
  return { answers, begun: runs, defined: definitions.keys() };
}

/** Answers the items whose request id was used before, here or by an earlier request. */
async function settleRequestIds(tx: Tx, items: readonly Item[]): Promise<Map<Item, CreatedRun | Refusal>> {
  const answers = new Map<Item, CreatedRun | Refusal>();
  const asked = items.flatMap((item) => {
    const { request, project } = item.run;
    if (request === undefined) return [];
    return [{ item, project, requestId: request.id, bodyDigest: request.bodyDigest, runId: item.runId }];
  });
  if (asked.length === 0) return answers;
  for (let open = asked; open.length > 0; ) {
    const claimed = await claimRequestIds(tx, open);
    const repeated = open.filter((row) => !claimed.has(row.runId));
    if (repeated.length === 0) break;
    const earlier = await findRequestIds(tx, repeated);
    // One that was forgotten in between is free.
    open = [];
    for (const row of repeated) {
      const found = earlier.find(({ project, requestId }) => project === row.project && requestId === row.requestId);
      if (found === undefined) open.push(row);
      else answers.set(row.item, answerAgain(row, found));
    }
  }
  return answers;
}

function beginRun({ run, runId, plan }: Item, nowMs: number, specProblem: RunFacts['specProblem']): BegunRun {
  const { project, params, traceparent, labels } = run;
  const { pipeline, revision, trigger } = run.command;
  const origin = { ...(pipeline !== undefined && { pipeline }), ...(revision !== undefined && { revision }) };
  const given = { runId, project, ...origin, params, labels, trigger, outputs: new Map<number, JsonObject>() };
  const facts: RunFacts = { ...given, ...(specProblem !== undefined && { specProblem }) };
  const { events, marks, after } = decide({ ...beforeFirstEvent(plan), facts }, run.command, nowMs);
  const jobs: JobWrite[] = [];
  const queue: QueueInsert[] = [];
  const context = { runId, project, pipeline, params, traceparent, plan: after.plan };
  const starts: StartChange[] = [];
  let dueMs: number | undefined;
  for (const [job, record] of after.jobs) {
    const key = { runId, job };
    const due = dueOf(after, job, record);
    if (due !== undefined) dueMs = Math.min(dueMs ?? due, due);
    jobs.push({ key, project, record, dueMs: due });
    const start = startChange(context, job, undefined, record);
    if (start !== undefined) starts.push(start);
    if (record.state !== 'QUEUED') continue;
    queue.push(queueEntry({ runId, project, pipeline }, job, plannedJob(after.plan, job).definition, nowMs));
  }
  const insert: RunInsert = {
    runId,
    project,
    pipeline,
    revision,
    digest: after.plan === plan ? run.digest : digestOf(after.plan.definition),
    header: after.run,
    params: run.params,
    labels,
    trigger,
    rerunOf: run.command.rerunOf as RunId | undefined,
    traceparent: run.traceparent,
  };
  const writes = events.map((event, i): EventWrite => {
    const mark = marks[i];
    if (mark === undefined) throw new Error('an event without a mark');
    return {
      runId,
      project,
      seq: i + 1,
      timeMs: nowMs,
      runState: mark.run,
      jobState: mark.job,
      event,
      feed: i === events.length - 1,
    };
  });
  return {
    context,
    after,
    run: insert,
    jobs,
    events: writes,
    queue,
    starts,
    notice: {
      runId,
      drivers: [...new Set(queue.map((entry) => entry.driver))],
      dueMs,
      calls: events.some(isCall),
      starts: startsChanged(starts),
    },
    view: viewOf(insert, run.definition, nowMs),
  };
}

function isCall(event: RunEvent): boolean {
  return event.type === 'JobWaiting' && event.reason === 'CHILD_RUN';
}

function viewOf(run: RunInsert, definition: Definition, createdMs: number): RunView {
  const { runId, project, pipeline, revision, params, labels, trigger, rerunOf, header } = run;
  return {
    runId,
    project,
    ...(pipeline !== undefined && { pipeline }),
    ...(revision !== undefined && { revision }),
    state: header.state,
    params,
    labels,
    trigger,
    counts: header.counts,
    seq: header.seq,
    ...(rerunOf !== undefined && { rerunOf }),
    createdMs,
    ...(header.startedMs !== undefined && { startedMs: header.startedMs }),
    ...(header.finishedMs !== undefined && { finishedMs: header.finishedMs }),
    definition,
  };
}
