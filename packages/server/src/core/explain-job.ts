// Explains why a job does not start: everything that is unfulfilled at one moment, and nothing that ends by the end of something else
// that is told.
import type { Blocker, Caveat, Explanation, NamedJob } from './blockers.ts';
import type { ExplainFacts, GroupFacts } from './explain-facts.ts';
import { explainInstances } from './explain-instances.ts';
import { countAhead, type Position } from './group.ts';
import { formatJobId, type JobKey, type RunId } from './ids.ts';
import { type Plan, plannedJob } from './plan.ts';
import { rateViewOf } from './rate.ts';
import type { HoldBack, JobWait, OwnWait, TimedWait } from './run-state.ts';
import { groupLimitOf } from './shares.ts';

/** Jobs that are named in one blocker. */
export const MOST_NAMED = 20;

type BlockerOf<K extends Blocker['kind']> = Extract<Blocker, { kind: K }>;

export function explainJob(facts: ExplainFacts): Explanation {
  const { job } = facts;
  const none = { blockers: [], caveats: [] };
  switch (job.state) {
    case 'BLOCKED':
    case 'QUEUED':
      return toStart(facts);
    case 'WAITING':
      return 'sinceMs' in job.wait ? begun(facts, job.wait) : toStart(facts);
    case 'OFFERED':
      return { standing: 'BLOCKED', blockers: offered(facts), caveats: [] };
    case 'RUNNING':
      return { standing: 'RUNNING', ...none };
    case 'CANCELLING':
      return { standing: 'STOPPING', ...none };
    case 'SUCCEEDED':
    case 'FAILED':
    case 'SKIPPED':
    case 'CANCELLED':
      return { standing: 'FINISHED', ...none };
  }
}

function offered({ offer, plan, index }: ExplainFacts): readonly Blocker[] {
  if (offer === undefined) throw new Error('an offered job without its attempt');
  const { instance, offeredMs: sinceMs } = offer;
  const { offerMs } = plannedJob(plan, index).definition.timeouts;
  return [{ kind: 'OFFER', instance, sinceMs, untilMs: sinceMs + offerMs }];
}

/** Of a job that no driver runs: what its end waits for. */
function begun(facts: ExplainFacts, wait: OwnWait): Explanation {
  const { plan, index, job, openCells, child } = facts;
  const { gate, call } = plannedJob(plan, index).definition;
  if (wait.stopping !== undefined) return { standing: 'STOPPING', blockers: [], caveats: [] };
  const blockers: Blocker[] = [];
  switch (wait.reason) {
    case 'APPROVAL':
      if (gate === undefined) throw new Error('a job waits for answers and is no gate');
      blockers.push({
        kind: 'GATE',
        approved: (job.details?.answers ?? []).filter(({ verdict }) => verdict === 'APPROVE').length,
        quorum: gate.quorum,
        approvers: gate.approvers,
        ...(gate.timeoutMs !== undefined && { untilMs: wait.sinceMs + gate.timeoutMs }),
        onTimeout: gate.onTimeout,
      });
      break;
    case 'MATRIX':
      if (openCells.length > 0) {
        blockers.push({ kind: 'CELLS', open: openCells.length, jobs: openCells.slice(0, MOST_NAMED) });
      }
      if (openCells.some(isNotBegun)) blockers.push(...held(keyOf(facts), false, job.hold));
      break;
    case 'CHILD_RUN':
      blockers.push({ kind: 'CHILD_RUN', pipeline: call?.pipeline ?? '', ...(child !== undefined && { run: child }) });
      break;
  }
  return { standing: 'BEGUN', blockers, caveats: [] };
}

function toStart(facts: ExplainFacts): Explanation {
  const { runId, plan, run, index, job, nowMs, matrixHold, pauses, driver } = facts;
  const { cell } = plannedJob(plan, index);
  const needs = needsOf(facts);
  const matrix = matrixOf(facts);
  // What ends with something that is told is not told as well: a job that is needed leaves its slot when it ends.
  const freed = new Set<string>();
  if (needs !== undefined) for (const needed of neededBy(plan, index)) freed.add(formatJobId({ runId, job: needed }));
  if (matrix !== undefined && allHaveToLeave(matrix)) {
    for (const open of facts.openCells) if (!isNotBegun(open)) freed.add(formatJobId(open));
  }
  // Who is queued has its place and its tokens.
  const isQueued = job.state === 'QUEUED';
  const group = isQueued ? undefined : groupOf(facts, freed);
  if (group !== undefined && allHaveToLeave(group)) {
    for (const holder of facts.group?.holders ?? []) freed.add(formatJobId(keyOfMember(holder)));
  }
  const instances = driver && explainInstances(driver, nowMs, (id) => freed.has(id));
  const blockers: readonly (Blocker | undefined)[] = [
    needs,
    job.state === 'WAITING' ? timed(job.wait, nowMs) : undefined,
    run.pause && { kind: 'RUN_PAUSED', pause: run.pause },
    ...held(keyOf(facts), false, job.hold),
    ...(cell === undefined || job.state !== 'BLOCKED' ? [] : held({ runId, job: cell.of }, true, matrixHold)),
    matrix,
    ...pauses.map((pause) => ({ kind: 'QUEUE_PAUSED' as const, pause })),
    group,
    ...(isQueued ? [] : ratesOf(facts)),
    instances,
  ];
  const told = blockers.filter((blocker) => blocker !== undefined);
  const standing = told.length > 0 ? 'BLOCKED' : 'STARTING';
  return { standing, blockers: told, caveats: caveatsOf(facts, group !== undefined) };
}

function needsOf({ job, openNeeds }: ExplainFacts): BlockerOf<'NEEDS'> | undefined {
  if (job.state !== 'BLOCKED' || job.unmet === 0) return undefined;
  return { kind: 'NEEDS', open: job.unmet, jobs: openNeeds.slice(0, MOST_NAMED) };
}

function timed(wait: JobWait, nowMs: number): BlockerOf<'DELAY' | 'BACKOFF'> | undefined {
  const own: TimedWait | undefined = 'untilMs' in wait ? wait : 'behind' in wait ? wait.behind : undefined;
  return own === undefined || own.untilMs <= nowMs ? undefined : { kind: own.reason, untilMs: own.untilMs };
}

function held(job: JobKey, ofMatrix: boolean, hold: HoldBack | undefined): readonly BlockerOf<'HELD'>[] {
  return hold === undefined ? [] : [{ kind: 'HELD', job, ofMatrix, hold }];
}

/** Of a cell that its matrix has not begun. */
function matrixOf({ runId, plan, index, job, openCells }: ExplainFacts): BlockerOf<'MATRIX'> | undefined {
  const { cell, definition } = plannedJob(plan, index);
  const limit = cell && plannedJob(plan, cell.of).maxParallel;
  if (cell === undefined || limit === undefined || job.state !== 'BLOCKED') return undefined;
  const underWay = openCells.filter((open) => !isNotBegun(open));
  const ahead = openCells.filter((open) => isNotBegun(open) && open.job < index).length;
  if (ahead < limit - underWay.length) return undefined;
  return {
    kind: 'MATRIX',
    job: { runId, job: cell.of },
    name: definition.name,
    limit,
    underWay: underWay.length,
    jobs: underWay.slice(0, MOST_NAMED),
    ahead,
  };
}

function groupOf(facts: ExplainFacts, freed: ReadonlySet<string>): BlockerOf<'GROUP'> | undefined {
  const { group, plan, index, shares } = facts;
  const own = groupLimitOf(plannedJob(plan, index).definition, shares);
  if (group === undefined || own === undefined) return undefined;
  const { key, state, holders } = group;
  const staying = holders.filter((holder) => !freed.has(formatJobId(keyOfMember(holder))));
  const holding = state.holders - (holders.length - staying.length);
  const limit = Math.min(own, lowestOf(group, staying) ?? own);
  const before = countAhead(state.front, positionOf(facts));
  const isKnown = before < state.front.length || state.waiting <= state.front.length;
  const ahead = state.front.slice(0, before).filter((one) => !freed.has(formatJobId(keyOfMember(one)))).length;
  if (isKnown && ahead < limit - holding) return undefined;
  return { kind: 'GROUP', key, limit, holding, holders: staying.slice(0, MOST_NAMED).map(keyOfMember), ahead };
}

/** The lowest limit that those state who stay. */
function lowestOf({ state, holders }: GroupFacts, staying: GroupFacts['holders']): number | undefined {
  if (holders.length < state.holders) return state.lowestLimit;
  return staying.length === 0 ? undefined : Math.min(...staying.map(({ limit }) => limit));
}

/** Each limit by itself: a job takes the tokens of all of them, or of none. */
function ratesOf(facts: ExplainFacts): readonly BlockerOf<'RATE'>[] {
  const position = positionOf(facts);
  return facts.rates.flatMap(({ key, state, cost, costMs, periodMs }) => {
    const { allowed, expectedMs } = rateViewOf(state, { ...position, costMs, periodMs }, facts.nowMs);
    return allowed ? [] : [{ kind: 'RATE' as const, key, cost, expectedMs, ahead: countAhead(state.front, position) }];
  });
}

function caveatsOf({ plan, index, job, shares, driver }: ExplainFacts, lacksPlace: boolean): readonly Caveat[] {
  const { definition, cell } = plannedJob(plan, index);
  const caveats: Caveat[] = [];
  if (job.state === 'BLOCKED') {
    // The condition of a cell has been worked out with its matrix, unless it reads the values of the cell.
    const isOpen = cell === undefined || /\bmatrix\b/.test(definition.if ?? '');
    if (definition.if !== undefined && isOpen) caveats.push('CONDITION');
    if (cell === undefined && definition.when === 'SUCCESS' && job.badNeeds > 0) caveats.push('OUTCOMES');
    if (shares === undefined) caveats.push('KEYS');
  }
  if (lacksPlace && definition.concurrency?.policy === 'REJECT') caveats.push('REFUSED');
  return [...caveats, ...(driver?.caveats ?? [])];
}

/** Whether the job gets what it waits for only once everybody who has it now has left it. */
function allHaveToLeave({ limit, ahead }: { readonly limit: number; readonly ahead: number }): boolean {
  return ahead + 1 >= limit;
}

/** Every job that has finished when those have that a job needs. */
export function neededBy({ jobs }: Pick<Plan, 'jobs'>, index: number): ReadonlySet<number> {
  const found = new Set<number>();
  const open = [index];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { needs = [], cells = [] } = jobs[next] ?? {};
    for (const need of next === index ? needs : [...needs, ...cells]) {
      if (found.has(need)) continue;
      found.add(need);
      open.push(need);
    }
  }
  return found;
}

function isNotBegun({ state }: Pick<NamedJob, 'state'>): boolean {
  return state === 'BLOCKED';
}

function positionOf({ runId, index, job, nowMs }: ExplainFacts): Position {
  return { runId, job: index, readyMs: job.readyMs ?? nowMs };
}

function keyOf({ runId, index }: ExplainFacts): JobKey {
  return { runId, job: index };
}

function keyOfMember({ runId, job }: Position): JobKey {
  return { runId: runId as RunId, job };
}
