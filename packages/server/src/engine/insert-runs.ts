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
import { claimRequestIds, findRequestIds, insertRuns, releaseRequestIds } from '../store/run-rows.ts';
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

export interface RunsInserted<Item> {
  readonly answers: ReadonlyMap<Item, CreatedRun | Refusal>;
  /** Those that take longer than they may here. */
  readonly costly: readonly Item[];
  readonly begun: readonly BegunRun[];
  /** The definitions that it made sure of. */
  readonly defined: Iterable<DefinitionDigest>;
}

export interface InsertOptions {
  readonly stored: ReadonlyMap<DefinitionDigest, number>;
  readonly schemas: DriverSchemas;
  /** Whether nobody else waits for what is decided. */
  readonly isAlone: boolean;
}

/** Begins runs, or answers them by those that their request ids have made. */
export async function insertNewRuns<Item extends RunToBegin>(
  tx: Tx,
  begun: Promise<unknown>,
  items: readonly Item[],
  { stored, schemas, isAlone }: InsertOptions,
): Promise<RunsInserted<Item>> {
  const pace = createDecisionPace(tx, isAlone);
  const {
    answers,
    runs: begunRuns,
    costly,
    nowMs,
  } = isAlone
    ? await beginAndClaim(tx, begun, items, { schemas, pace })
    : await claimAndBegin(tx, begun, items, { schemas, pace });
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
  return { answers, costly, begun: runs, defined: definitions.keys() };
}

interface Begun<Item> {
  readonly answers: Map<Item, CreatedRun | Refusal>;
  readonly runs: ReadonlyMap<Item, BegunRun>;
  readonly costly: readonly Item[];
  readonly nowMs: number;
}

interface BeginOptions {
  readonly schemas: DriverSchemas;
  readonly pace: DecisionPace;
}

/** Whoever claims a request id keeps its repetitions waiting, so what may take long comes before. */
async function beginAndClaim<Item extends RunToBegin>(
  tx: Tx,
  begun: Promise<unknown>,
  items: readonly Item[],
  options: BeginOptions,
): Promise<Begun<Item>> {
  const [nowMs] = await Promise.all([readClock(tx), begun]);
  const decided = await beginAll(items, nowMs, options);
  return { ...decided, nowMs, answers: await settleRequestIds(tx, items) };
}

/** What turns out to take long gives its request id back. */
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
  const { runs, costly } = await beginAll(
    items.filter((item) => !answers.has(item)),
    nowMs,
    options,
  );
  if (costly.length === 0) return { answers, runs, costly, nowMs };
  const left = new Set(costly.map(({ runId }) => runId));
  const repetitions = [...answers].flatMap(([item, answer]) =>
    'runId' in answer && left.has(answer.runId) ? [item] : [],
  );
  for (const item of repetitions) answers.delete(item);
  await releaseRequestIds(
    tx,
    costly.flatMap(({ run: { project, request } }) =>
      request === undefined ? [] : [{ project, requestId: request.id }],
    ),
  );
  return { answers, runs, costly: [...costly, ...repetitions], nowMs };
}

/** Decides on new runs. */
async function beginAll<Item extends RunToBegin>(
  items: readonly Item[],
  nowMs: number,
  { schemas, pace }: BeginOptions,
): Promise<Pick<Begun<Item>, 'runs' | 'costly'>> {
  const drivers = new Set(items.flatMap(({ plan }) => [...driversToAsk(plan)]));
  const whyUnfit = drivers.size === 0 ? undefined : await specProblems(schemas, drivers);
  const runs = new Map<Item, BegunRun>();
  const costly: Item[] = [];
  for (const item of items) {
    const step = await pace.make(beginRun(item, nowMs, whyUnfit));
    if (step === undefined) costly.push(item);
    else runs.set(item, step.made);
  }
  return { runs, costly };
}

/** Answers the items whose request id was used before, here or by an earlier request. */
async function settleRequestIds<Item extends RunToBegin>(
  tx: Tx,
  items: readonly Item[],
): Promise<Map<Item, CreatedRun | Refusal>> {
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
