// What is written of new runs: everything of many in one transaction of a few statements. A run is decided on before it is stored, by the
// same decide() as everything later.
import type { Definition } from '../core/definition.ts';
import type { Refusal } from '../core/refusal.ts';
import { changeCalls } from '../store/call-rows.ts';
import {
  type DefinitionDigest,
  type DefinitionWrite,
  definitionWrite,
  insertDefinitions,
} from '../store/definition-rows.ts';
import { changeMembers } from '../store/group-rows.ts';
import { insertJobs } from '../store/job-rows.ts';
import { insertEvents, readClock } from '../store/ledger-rows.ts';
import { enqueue } from '../store/queue-rows.ts';
import { changeRateWaiters } from '../store/rate-rows.ts';
import {
  claimRequestIds,
  findRequestIds,
  insertRuns,
  releaseRequestIds,
  type RequestIdRow,
} from '../store/run-rows.ts';
import type { Tx } from '../store/sql.ts';
import { type BegunRun, beginRun, type RunToBegin } from './begin-run.ts';
import { callChanges } from './call-changes.ts';
import type { CreatedRun } from './created-run.ts';
import { createDecisionPace, type DecisionPace } from './decision-pace.ts';
import type { DriverSchemas } from './driver-schemas.ts';
import { inPieces, inTurns, sendInTurns } from './pace.ts';
import { answerAgain } from './request-ids.ts';
import { driversToAsk, specProblems } from './spec-check.ts';
import { refuseUnwanted } from './wanted-children.ts';

/** Runs of more jobs are made alone. */
export const LARGE_JOBS = 500;
/** Jobs that are made together, but for those of the last run. */
export const MAX_JOBS = 2_000;

export interface RunsInserted<Item> {
  readonly answers: ReadonlyMap<Item, CreatedRun | Refusal>;
  /** Those that take longer than they may here, or are larger. */
  readonly costly: readonly Item[];
  /** Those that were left because the others take long, or are many jobs, already. */
  readonly left: readonly Item[];
  readonly begun: readonly BegunRun[];
  /** The definitions that it made sure of. */
  readonly defined: Iterable<DefinitionDigest>;
}

export interface InsertOptions {
  readonly stored: ReadonlyMap<DefinitionDigest, number>;
  readonly schemas: DriverSchemas;
  /** The newest version of events that every live replica knows. */
  readonly eventVersion: number;
  /** Whether nobody else waits for what is decided. */
  readonly isAlone: boolean;
}

/** Begins runs, given in turns of projects, or answers them by those that their request ids have made. */
export async function insertNewRuns<Item extends RunToBegin>(
  tx: Tx,
  begun: Promise<unknown>,
  items: readonly Item[],
  { stored, schemas, eventVersion, isAlone }: InsertOptions,
): Promise<RunsInserted<Item>> {
  const pace = createDecisionPace(tx, isAlone);
  const {
    answers,
    runs: begunRuns,
    costly,
    left,
    nowMs,
  } = isAlone
    ? await beginAndClaim(tx, begun, items, { schemas, eventVersion, pace, maxJobs: Number.POSITIVE_INFINITY })
    : await claimAndBegin(tx, begun, items, { schemas, eventVersion, pace, maxJobs: LARGE_JOBS });
  const settled = items.filter((item) => begunRuns.has(item) && !answers.has(item));
  for (const [item, refusal] of await refuseUnwanted(tx, settled)) answers.set(item, refusal);
  const fresh = settled.filter((item) => !answers.has(item));
  const runs = fresh.flatMap((item) => begunRuns.get(item) ?? []);
  const definitions = new Map<DefinitionDigest, Definition>();
  for (const { run } of fresh) {
    if ((stored.get(run.digest) ?? 0) < performance.now()) definitions.set(run.digest, run.definition);
  }
  for (const { run, context } of runs) {
    // One that has grown at once.
    if (context.plan.definition.added !== undefined) definitions.set(run.digest, context.plan.definition);
  }
  const written: DefinitionWrite[] = [];
  for (const definition of definitions.values()) written.push(await inTurns(definitionWrite(definition)));
  const calls = runs.flatMap(({ context, events }) => callChanges(context, events));
  const starts = runs.flatMap((run) => run.starts);
  const members = starts.flatMap(({ member }) => member ?? []);
  const rateWaits = starts.flatMap(({ rateWait }) => rateWait ?? []);
  fresh.forEach((item, i) => answers.set(item, { runId: item.runId, view: runs[i]?.view }));
  await sendInTurns([
    ...inPieces(written, (rows) => insertDefinitions(tx, rows, nowMs)),
    ...inPieces(calls, (rows) => changeCalls(tx, rows)),
    ...inPieces(members, (rows) => changeMembers(tx, rows)),
    ...inPieces(rateWaits, (rows) => changeRateWaiters(tx, rows)),
    ...inPieces(
      runs.map(({ run }) => run),
      (rows) => insertRuns(tx, rows),
    ),
    ...inPieces(
      runs.flatMap(({ jobs }) => jobs),
      (rows) => insertJobs(tx, rows),
    ),
    ...inPieces(
      runs.flatMap(({ events }) => events),
      (rows) => insertEvents(tx, rows),
    ),
    ...inPieces(
      runs.flatMap(({ queue }) => queue),
      (rows) => enqueue(tx, rows),
    ),
  ]);
  return { answers, costly, left, begun: runs, defined: definitions.keys() };
}

interface Begun<Item> {
  readonly answers: Map<Item, CreatedRun | Refusal>;
  readonly runs: ReadonlyMap<Item, BegunRun>;
  readonly costly: readonly Item[];
  readonly left: readonly Item[];
  readonly nowMs: number;
}

interface BeginOptions extends Pick<InsertOptions, 'schemas' | 'eventVersion'> {
  readonly pace: DecisionPace;
  /** Of one run. */
  readonly maxJobs: number;
}

/** Whoever claims a request id keeps its repetitions waiting, so what may take long comes before; but not for one that is known. */
async function beginAndClaim<Item extends RunToBegin>(
  tx: Tx,
  begun: Promise<unknown>,
  items: readonly Item[],
  options: BeginOptions,
): Promise<Begun<Item>> {
  const answers = new Map<Item, CreatedRun | Refusal>();
  const [nowMs] = await Promise.all([readClock(tx), answerRepeated(tx, askedBy(items), answers), begun]);
  const fresh = items.filter((item) => !answers.has(item));
  const decided = await beginAll(fresh, nowMs, options);
  for (const [item, answer] of await settleRequestIds(tx, [...decided.runs.keys()])) answers.set(item, answer);
  return { ...decided, nowMs, answers };
}

/** What turns out to take long, and what is left behind that, gives its request id back. */
async function claimAndBegin<Item extends RunToBegin>(
  tx: Tx,
  begun: Promise<unknown>,
  items: readonly Item[],
  options: BeginOptions,
): Promise<Begun<Item>> {
  const [answers, nowMs] = await Promise.all([
    settleRequestIds(tx, items),
    // Statements run in the order in which they are sent, so this is the time after the ids were claimed.
    readClock(tx),
    begun,
  ]);
  const { runs, costly, left } = await beginAll(
    items.filter((item) => !answers.has(item)),
    nowMs,
    options,
  );
  const putOff = [...costly, ...left];
  if (putOff.length === 0) return { answers, runs, costly, left, nowMs };
  await releaseRequestIds(
    tx,
    putOff.flatMap(({ run: { project, request } }) =>
      request === undefined ? [] : [{ project, requestId: request.id }],
    ),
  );
  return { runs, costly: withRepetitions(costly, answers), left: withRepetitions(left, answers), answers, nowMs };
}

/** Adds those that were answered by runs which are not made now. */
function withRepetitions<Item extends RunToBegin>(
  items: readonly Item[],
  answers: Map<Item, CreatedRun | Refusal>,
): readonly Item[] {
  const runIds = new Set(items.map(({ runId }) => runId));
  const repetitions = [...answers].flatMap(([item, answer]) =>
    'runId' in answer && runIds.has(answer.runId) ? [item] : [],
  );
  for (const item of repetitions) answers.delete(item);
  return [...items, ...repetitions];
}

/** Decides on new runs, but for those that are to be made elsewhere, and those that are left for later. */
async function beginAll<Item extends RunToBegin>(
  items: readonly Item[],
  nowMs: number,
  { schemas, eventVersion, pace, maxJobs }: BeginOptions,
): Promise<Pick<Begun<Item>, 'runs' | 'costly' | 'left'>> {
  const drivers = new Set(items.flatMap(({ plan }) => [...driversToAsk(plan)]));
  const whyUnfit = drivers.size === 0 ? undefined : await specProblems(schemas, drivers);
  const runs = new Map<Item, BegunRun>();
  const costly: Item[] = [];
  const left: Item[] = [];
  const begun = new Set<string>();
  let jobs = 0;
  for (const item of items) {
    const { project } = item.run;
    // One of each project has its turn however long the others took.
    if (jobs >= MAX_JOBS || (begun.has(project) && pace.isLong())) {
      left.push(item);
      continue;
    }
    begun.add(project);
    const step = await pace.make(beginRun(item, nowMs, eventVersion, whyUnfit));
    if (step === undefined || step.made.jobs.length > maxJobs) {
      costly.push(item);
      continue;
    }
    runs.set(item, step.made);
    jobs += step.made.jobs.length;
  }
  return { runs, costly, left };
}

/** Answers the items whose request id was used before, here or by an earlier request. */
async function settleRequestIds<Item extends RunToBegin>(
  tx: Tx,
  items: readonly Item[],
): Promise<Map<Item, CreatedRun | Refusal>> {
  const answers = new Map<Item, CreatedRun | Refusal>();
  for (let open = askedBy(items); open.length > 0; ) {
    const claimed = await claimRequestIds(tx, open);
    // One that was forgotten in between is free.
    open = await answerRepeated(
      tx,
      open.filter((row) => !claimed.has(row.runId)),
      answers,
    );
  }
  return answers;
}

interface AskedBy<Item> extends RequestIdRow {
  readonly item: Item;
}

function askedBy<Item extends RunToBegin>(items: readonly Item[]): readonly AskedBy<Item>[] {
  return items.flatMap((item) => {
    const { request, project } = item.run;
    if (request === undefined) return [];
    return [{ item, project, requestId: request.id, bodyDigest: request.bodyDigest, runId: item.runId }];
  });
}

/** Answers those whose request id is known. Returns the others. */
async function answerRepeated<Item extends RunToBegin>(
  tx: Tx,
  asked: readonly AskedBy<Item>[],
  answers: Map<Item, CreatedRun | Refusal>,
): Promise<readonly AskedBy<Item>[]> {
  if (asked.length === 0) return [];
  const earlier = await findRequestIds(tx, asked);
  return asked.filter((row) => {
    const found = earlier.find(({ project, requestId }) => project === row.project && requestId === row.requestId);
    if (found !== undefined) answers.set(row.item, answerAgain(row, found));
    return found === undefined;
  });
}
