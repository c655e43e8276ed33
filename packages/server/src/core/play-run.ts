// Plays a run in memory: the same decisions as of any run, on the commands that drivers, people and called runs give when all ends as it
// is assumed to. Jobs finish in the order in which they start, no driver is ever short of slots, and no time passes.
import { type AssumedOutcome, type Assumptions, assumedOf, isAssumed } from './assumptions.ts';
import type { AttemptContent, Command } from './commands.ts';
import { decideInSlices } from './decide.ts';
import { DEFAULT_RETRY, DEFAULT_TIMEOUTS, type Definition, type Gate, type PipelineCall } from './definition.ts';
import { EVENT_VERSION } from './event-versions.ts';
import { beforeFirstEvent } from './evolve.ts';
import { compilePlan, outlivesCancel, type Plan, type PlannedJob, plannedJob } from './plan.ts';
import type { JsonObject } from './json.ts';
import { type JobRecord, jobOf, type RunFacts, type RunHeader } from './run-state.ts';
import { type Failure, isJobFinished, isRunFinished } from './states.ts';

/** A run when nothing more happens in it: it has finished, unless there is something unknown in it. */
export interface PlayedRun {
  readonly plan: Plan;
  readonly run: RunHeader;
  readonly jobs: ReadonlyMap<number, JobRecord>;
  /** Jobs of which nothing can be told, with why: they read what nobody knows, or may be stopped by such a job. */
  readonly unknown: ReadonlyMap<number, string>;
}

/** Why the run of a call could not be made; undefined when it could, or nobody knows. */
export type WhyNoChild = (call: PipelineCall, params: JsonObject) => string | undefined;

export type FactsOfRun = Omit<RunFacts, 'outputs' | 'isAssumed'>;

/** Of a job that is assumed to fail. */
export const ASSUMED_FAILURE: Failure = { class: 'WORKLOAD', message: 'it is assumed to fail' };

/** What else is in groups and rates while the run goes on is not known, and only costs time. */
const FREE = {
  place: { hasRoom: true, isReplaced: false, mustYield: false, holders: 0, limit: 1 },
  rate: { allowed: true, expectedMs: 0 },
} as const;
const INSTANCE = 1;
const CHILD_RUN = 'assumed';

/**
 * Plays a run to its end in small steps, so that whoever asks for it may do other things in between.
 * @param definition Checked already.
 * @param whyNoChild Asked of calls of which nothing is assumed.
 */
export function* playRun(
  definition: Definition,
  facts: FactsOfRun,
  assumed: Assumptions,
  whyNoChild: WhyNoChild = () => undefined,
  decide = decideInSlices,
): Generator<undefined, PlayedRun> {
  const table = openTable(compilePlan(asAssumed(definition)), facts, assumed, decide);
  const { played, toStart, toFinish } = table;
  yield* table.submit(createCommand(facts));
  for (let started = 0, finished = 0; !isRunFinished(played.run.state); ) {
    const starting = toStart[started];
    const finishing = toFinish[finished];
    if (starting !== undefined) {
      started++;
      const isSure = isAssumed(assumed, plannedJob(played.plan, starting));
      if (!played.unknown.has(starting)) yield* start(table, starting, isSure ? () => undefined : whyNoChild);
    } else if (finishing !== undefined) {
      finished++;
      const isOpen = !isJobFinished(recordOf(table, finishing).state);
      if (isOpen && !played.unknown.has(finishing)) yield* finish(table, finishing, assumed);
    } else break;
    yield;
  }
  return played;
}

/**
 * A job that fails has failed for good: what time changes is how long a run takes, not what it does. Nor do schemas of outputs: those that
 * are assumed fit.
 */
function asAssumed(definition: Definition): Definition {
  const retry = { ...DEFAULT_RETRY, budgets: { ...DEFAULT_RETRY.budgets, WORKLOAD: 0 } };
  const jobs = definition.jobs.map(({ outputsSchema: _fits, ...job }) => ({
    ...job,
    retry,
    timeouts: DEFAULT_TIMEOUTS,
  }));
  return { ...definition, jobs };
}

function createCommand({ pipeline, revision, trigger }: FactsOfRun): Command {
  const source = { ...(pipeline !== undefined && { pipeline }), ...(revision !== undefined && { revision }) };
  return { type: 'Create', trigger, ...source };
}

interface Table {
  readonly played: {
    plan: Plan;
    run: RunHeader;
    jobs: ReadonlyMap<number, JobRecord>;
    readonly unknown: Map<number, string>;
  };
  /** Jobs in the order in which they became ready, and in which they started. */
  readonly toStart: number[];
  readonly toFinish: number[];
  nowMs: number;
  submit(command: Command): Generator<undefined, void>;
}

function openTable(plan: Plan, facts: FactsOfRun, assumed: Assumptions, decide: typeof decideInSlices): Table {
  const played: Table['played'] = { ...beforeFirstEvent(plan), unknown: new Map() };
  let outputs: RunFacts['outputs'] = new Map();
  const knowsOutputs = (job: PlannedJob): boolean => assumedOf(assumed, job).outputs !== undefined;

  const table: Table = {
    played,
    toStart: [],
    toFinish: [],
    nowMs: 0,
    *submit(command) {
      const slice = {
        plan: played.plan,
        run: played.run,
        jobs: played.jobs,
        facts: { ...facts, isAssumed: knowsOutputs, outputs },
      };
      const { events, after, unknown } = yield* decide(slice, command, table.nowMs);
      const ready: number[] = [];
      for (const event of events) {
        // Who claims a place starts at once, in its turn.
        if (event.type === 'JobWaiting' || (event.type === 'JobQueued' && command.type !== 'ClaimPlace'))
          ready.push(event.job);
      }
      table.toStart.push(...(command.type === 'Create' ? queuedAtOnce(after.jobs, ready) : []), ...ready);
      played.plan = after.plan;
      played.run = after.run;
      played.jobs = after.jobs;
      outputs = after.facts?.outputs ?? outputs;
      for (const [index, why] of unknown) played.unknown.set(index, why);
      for (const index of unknown.keys()) giveUpStopped(table, index);
    },
  };
  return table;
}

/** Of jobs that have nothing to wait for, that they are queued is no event of its own. */
function queuedAtOnce(jobs: ReadonlyMap<number, JobRecord>, ready: readonly number[]): number[] {
  const told = new Set(ready);
  return [...jobs].flatMap(([index, { state }]) => (state === 'QUEUED' && !told.has(index) ? [index] : []));
}

/** The failure of a job stops others where that fails fast: whether it fails is not known, nor is what becomes of those. */
function giveUpStopped(table: Table, index: number): void {
  const { plan, unknown } = table.played;
  const { name, cell, definition } = plannedJob(plan, index);
  const stopped = new Set<number>();
  if (cell !== undefined && definition.matrix?.failFast === true) {
    for (const other of plannedJob(plan, cell.of).cells ?? []) stopped.add(other);
  }
  if (plan.definition.failFast === true) {
    for (const job of plan.jobs) if (!outlivesCancel(job.definition)) stopped.add(job.index);
  }
  for (const job of stopped) {
    if (unknown.has(job) || isJobFinished(recordOf(table, job).state)) continue;
    unknown.set(job, `it is stopped if ${name} fails, which is not known`);
  }
}

function recordOf({ played }: Table, index: number): JobRecord {
  return jobOf(played, index);
}

function* start(table: Table, job: number, whyNoChild: WhyNoChild): Generator<undefined, void> {
  if (waitsForShare(recordOf(table, job))) yield* table.submit({ type: 'ClaimPlace', job, ...FREE });
  const record = recordOf(table, job);
  if (record.state === 'QUEUED') {
    yield* table.submit({ type: 'Offer', job, instance: INSTANCE, instanceId: CHILD_RUN });
    yield* table.submit({ type: 'Accept', job, attempt: record.attempt + 1, instance: INSTANCE });
  } else if (record.state === 'WAITING' && record.wait.reason === 'CHILD_RUN') {
    const { call } = plannedJob(table.played.plan, job).definition;
    const message = call && whyNoChild(call, record.details?.spec ?? call.params);
    if (message !== undefined) yield* table.submit({ type: 'RefuseChild', job, message });
    else yield* table.submit({ type: 'StartChild', job, childRun: CHILD_RUN });
  }
  table.toFinish.push(job);
}

function waitsForShare(record: JobRecord): boolean {
  return record.state === 'WAITING' && (record.wait.reason === 'CONCURRENCY' || record.wait.reason === 'RATE');
}

function* finish(table: Table, job: number, assumed: Assumptions): Generator<undefined, void> {
  const planned = plannedJob(table.played.plan, job);
  const end = assumedOf(assumed, planned);
  if (end.outcome === 'CANCELLED')
    yield* table.submit({ type: 'CancelJob', job, reason: 'it is assumed to be cancelled' });
  const record = recordOf(table, job);
  if (isJobFinished(record.state)) return;
  if (planned.definition.gate !== undefined) yield* answerGate(table, job, planned.definition.gate, end);
  else if (record.state === 'WAITING') yield* table.submit(childEnd(job, record, end));
  else yield* table.submit(attemptEnd(job, record, end));
}

function* answerGate(
  table: Table,
  job: number,
  gate: Gate,
  { outcome, outputs = {} }: AssumedOutcome,
): Generator<undefined, void> {
  if (outcome === 'SKIPPED') {
    table.nowMs += gate.timeoutMs ?? 0;
    yield* table.submit({ type: 'Timer', job, eventVersion: EVENT_VERSION, random: 0, content: undefined });
    return;
  }
  const verdict = outcome === 'SUCCEEDED' ? 'APPROVE' : 'REJECT';
  const people = outcome === 'SUCCEEDED' ? gate.quorum : 1;
  for (let nth = 1; nth <= people; nth++) {
    const answers = nth === 1 && outcome === 'SUCCEEDED' ? outputs : {};
    const given = { actor: `person ${nth}`, groups: gate.approvers, comment: '', answers };
    yield* table.submit({ type: 'AnswerGate', job, verdict, ...given });
  }
}

function childEnd(job: number, record: JobRecord, { outcome, outputs = {} }: AssumedOutcome): Command {
  const isStopping = record.state === 'WAITING' && 'stopping' in record.wait;
  const state = isStopping || outcome === 'SKIPPED' ? 'CANCELLED' : outcome;
  return { type: 'FinishChild', job, childRun: CHILD_RUN, state, outputs, message: ASSUMED_FAILURE.message };
}

const CONTENT: AttemptContent = {
  state: 'RUNNING',
  logSize: 0,
  logCrc32c: 0,
  logState: 'OPEN',
  annotations: 0,
  artifacts: 0,
};

function attemptEnd(job: number, { state, attempt }: JobRecord, { outcome, outputs }: AssumedOutcome): Command {
  return {
    type: 'Finish',
    job,
    attempt,
    instance: INSTANCE,
    outcome: state === 'CANCELLING' || outcome === 'SKIPPED' ? 'CANCELLED' : outcome,
    failureClass: ASSUMED_FAILURE.class,
    message: outcome === 'FAILED' ? ASSUMED_FAILURE.message : '',
    logSize: 0,
    logCrc32c: 0,
    logLost: false,
    random: 0,
    content: { ...CONTENT, ...(outputs !== undefined && { outputs }) },
  };
}
