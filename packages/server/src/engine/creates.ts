// The lanes on which runs begin: everything of many new runs in one transaction of a few statements. A run is decided on before it
// is stored, by the same decide() as everything later. What is large, or takes long, goes by a lane of its own.
import { randomBytes } from 'node:crypto';
import type { Definition } from '../core/definition.ts';
import { formatJobId, makeRunId } from '../core/ids.ts';
import { LIMITS } from '../core/limits.ts';
import { isGroup, type Plan } from '../core/plan.ts';
import { overloaded, type Refusal } from '../core/refusal.ts';
import { enqueue } from '../store/queue-rows.ts';
import { changeCalls } from '../store/call-rows.ts';
import { takeCalls } from '../store/call-trees.ts';
import { changeMembers } from '../store/group-rows.ts';
import { changeRateWaiters } from '../store/rate-rows.ts';
import { DEFINITION_TRUST_MS, type DefinitionDigest, insertDefinitions } from '../store/definition-rows.ts';
import type { Lane } from '../store/lane.ts';
import { insertJobs } from '../store/job-rows.ts';
import { insertEvents, readClock } from '../store/ledger-rows.ts';
import { claimRequestIds, findRequestIds, insertRuns, releaseRequestIds } from '../store/run-rows.ts';
import type { Tx } from '../store/sql.ts';
import { inTransaction } from '../store/transaction.ts';
import { callChanges } from './call-changes.ts';
import type { DriverSchemas } from './driver-schemas.ts';
import type { FlushOptions } from './flush.ts';
import type { CreatedRun } from './created-run.ts';
import { createGroupCommit } from './group-commit.ts';
import { CostlyDecision, createDecisionBudget, createTurns, inTurns } from './pace.ts';
import { answerAgain } from './request-ids.ts';
import { driversToAsk, specProblems } from './spec-check.ts';
import { type BegunRun, beginRun, type CheckedRun, type NewRunNotice, type RunToBegin } from './begin-run.ts';

const MAX_FLUSH = 500;
/** Runs of more jobs go by a lane of their own, so that nobody waits behind them. */
const LARGE_JOBS = 500;
/** Jobs of one flush; one run may have more, and then is alone. */
const MAX_JOBS = 2_000;

/** Behind so many runs the size of each that comes is counted. */
const UNCOUNTED_RUNS = 200;

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

interface Item extends RunToBegin {
  answer(created: CreatedRun | Refusal): void;
  readonly fail: (error: unknown) => void;
}

interface Outcome {
  readonly answers: ReadonlyMap<Item, CreatedRun | Refusal>;
  readonly begun: readonly BegunRun[];
  /** The definitions that it made sure of. */
  readonly defined: Iterable<DefinitionDigest>;
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
      (tx, begun) => insertAll(tx, begun, now, { stored, schemas: flushing.schemas, alone: on === largeLane }),
      signal,
    );
    if (stored.size > 10_000) stored.clear();
    for (const digest of defined) stored.set(digest, untilMs);
    for (const { context, after } of begun) flushing.cache.keep(context, undefined, after.run, after.jobs);
    onCreated(begun.map(({ notice }) => notice));
    for (const [item, answer] of answers) item.answer(answer);
    return later;
  }

  const groupOn = (flushOn: (items: readonly Item[], signal: AbortSignal) => Promise<readonly Item[]>) =>
    createGroupCommit<Item>({ maxItems: MAX_FLUSH, flush: flushOn, fail: (item, error) => item.fail(error) });
  const largeGroup = groupOn((items, signal) => flush(largeLane, items, signal));
  const group = groupOn(async (items, signal) => {
    try {
      return await flush(lane, items, signal);
    } catch (error) {
      const costly = items.filter(({ plan }) => !isPlain(plan));
      if (!(error instanceof CostlyDecision) || costly.length === 0) throw error;
      for (const item of costly) largeGroup.add(item);
      return items.filter(({ plan }) => isPlain(plan));
    }
  });

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

/** Whether there is nothing to work out in it. */
function isPlain({ jobs }: Plan): boolean {
  return jobs.every((job) => job.isPlain);
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

interface InsertOptions {
  readonly stored: ReadonlyMap<DefinitionDigest, number>;
  readonly schemas: DriverSchemas;
  /** Whether nobody else waits for what is decided. */
  readonly alone: boolean;
}

/** @throws CostlyDecision unless alone */
async function insertAll(
  tx: Tx,
  begun: Promise<unknown>,
  items: readonly Item[],
  { stored, schemas, alone }: InsertOptions,
): Promise<Outcome> {
  const [answers, nowMs] = await Promise.all([
    settleRequestIds(tx, items),
    // Statements run in the order in which they are sent, so this is the time after the ids were claimed.
    readClock(tx),
    begun,
  ]);
  await refuseUnwanted(
    tx,
    items.filter((item) => !answers.has(item)),
    answers,
  );
  const fresh = items.filter((item) => !answers.has(item));
  const definitions = new Map<DefinitionDigest, Definition>();
  for (const { run } of fresh) {
    if ((stored.get(run.digest) ?? 0) < performance.now()) definitions.set(run.digest, run.definition);
  }
  const drivers = new Set(fresh.flatMap(({ plan }) => [...driversToAsk(plan)]));
  const specProblem = drivers.size === 0 ? undefined : await specProblems(schemas, drivers);
  const turns = createTurns();
  const budget = alone ? undefined : createDecisionBudget();
  const runs: BegunRun[] = [];
  for (const item of fresh) {
    runs.push(await inTurns(beginRun(item, nowMs, specProblem), turns, budget));
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

/** Answers the items whose calls want no run any more, or may have none. */
async function refuseUnwanted(tx: Tx, items: readonly Item[], answers: Map<Item, CreatedRun | Refusal>): Promise<void> {
  const wanted = items.flatMap((item) => {
    const { call } = item.run;
    return call === undefined ? [] : [{ item, key: call, child: item.runId }];
  });
  if (wanted.length === 0) return;
  const taken = await takeCalls(tx, wanted);
  const refused = wanted.filter(({ key }) => taken.get(formatJobId(key)) !== 'TAKEN');
  if (refused.length === 0) return;
  for (const { item, key } of refused) {
    answers.set(item, taken.get(formatJobId(key)) === 'FULL' ? CALL_TREE_FULL : NO_RUN_WANTED);
  }
  await releaseRequestIds(
    tx,
    refused.flatMap(({ item: { run } }) =>
      run.request === undefined ? [] : [{ project: run.project, requestId: run.request.id }],
    ),
  );
}

/** That the tree of a call may have no more runs. */
export const CALL_TREE_FULL: Refusal = {
  refused: 'LIMIT_REACHED',
  message:
    `the calls that its first run led to have made ${LIMITS.callTreeRuns} runs, and no more are made: ` +
    'look for a pipeline that calls itself, or start a part of them by runs of their own',
  metadata: { limit: 'call_tree_runs', max: `${LIMITS.callTreeRuns}` },
};

/** Somebody else makes it, or the call is to end. */
const NO_RUN_WANTED: Refusal = { refused: 'NOT_WAITING', message: 'the call waits for no run now' };
