// Gathers what is known of a job that is to be explained, as of one moment. What it costs does not grow with the runs and jobs there are:
// the job's own run is looked at by the jobs that it needs, its driver by its connected instances.
import type { NamedJob } from '../core/blockers.ts';
import type { ExplainFacts, GroupFacts, RateFacts } from '../core/explain-facts.ts';
import { MOST_NAMED } from '../core/explain-job.ts';
import type { RunId } from '../core/ids.ts';
import { compileAhead } from '../core/expression-inputs.ts';
import { sharesBefore } from '../core/job-expressions.ts';
import { isDriven, type PlannedJob, plannedJob } from '../core/plan.ts';
import type { JobRecord, RunHeader } from '../core/run-state.ts';
import { ratesTaken, type Shares } from '../core/shares.ts';
import { offeredAttempt, openJobs } from '../store/explain-rows.ts';
import { loadGroups } from '../store/group-rows.ts';
import { groupMembers } from '../store/group-views.ts';
import { loadJobs } from '../store/job-rows.ts';
import { loadFacts, loadRuns, readClock } from '../store/ledger-rows.ts';
import { pausesOf } from '../store/queue-pauses.ts';
import { loadRates } from '../store/rate-rows.ts';
import { findRun } from '../store/run-views.ts';
import type { Tx } from '../store/sql.ts';
import { readDriverFacts } from './explain-driver.ts';
import { FIRST } from './group-queries.ts';
import { inTurns } from './pace.ts';
import type { Plans } from './plans.ts';
import type { StoredRun } from './stored-run.ts';

/** Cells that are looked at: all there can be. */
const MOST_CELLS = 1_000;
/** Holders of a group that are looked at; of more it is not known which end with something else. */
const MOST_HOLDERS = 1_000;

/** To be called in a snapshot. */
export async function readExplainFacts(tx: Tx, plans: Plans, stored: StoredRun, index: number): Promise<ExplainFacts> {
  const { runId, project, plan } = stored;
  const planned = plannedJob(plan, index);
  const key = { runId, job: index };
  const nowMs = await readClock(tx);
  const [run] = await loadRuns(tx, [runId]);
  const [loaded] = await loadJobs(tx, [key]);
  if (run === undefined || loaded === undefined) throw new Error(`job ${index} of run ${runId} was not loaded`);
  const job = loaded.record;
  const common = { nowMs, runId, plan, run: run.header, index, job, ...(await readOwn(tx, stored, planned, job)) };
  const isToStart = job.state === 'BLOCKED' || job.state === 'QUEUED' || (job.state === 'WAITING' && isOpen(job));
  if (!isDriven(planned) || !isToStart) return { ...common, pauses: [], shares: {}, rates: [] };
  const shares = await sharesOf(tx, stored, run.header, planned, job);
  const isQueued = job.state === 'QUEUED';
  const group = isQueued || shares?.group === undefined ? undefined : await readGroup(tx, project, shares.group);
  const rates = isQueued ? [] : await readRates(tx, project, planned, shares);
  const { driver } = planned.definition;
  const runIds = new Set([runId, ...(group?.holders ?? []).map((holder) => holder.runId as RunId)]);
  return {
    ...common,
    pauses: await pausesOf(tx, { driver, project, pipeline: stored.view.pipeline ?? '' }),
    shares,
    ...(group !== undefined && { group }),
    rates,
    driver: await readDriverFacts(tx, plans, planned, { key, nowMs, details: job.details, runIds: [...runIds] }),
  };
}

/** Whether what a waiting job waits for comes before its start. */
function isOpen(job: Extract<JobRecord, { state: 'WAITING' }>): boolean {
  return !('sinceMs' in job.wait);
}

/** What its own run, and the run that it made, tell. */
async function readOwn(
  tx: Tx,
  { runId, project, plan }: StoredRun,
  { index, needs, cell, cells }: PlannedJob,
  job: JobRecord,
): Promise<Pick<ExplainFacts, 'openNeeds' | 'openCells' | 'matrixHold' | 'child' | 'offer'>> {
  const named = async (jobs: readonly number[], limit: number): Promise<readonly NamedJob[]> =>
    (await openJobs(tx, runId, jobs, limit)).map((open) => ({
      runId,
      ...open,
      name: plannedJob(plan, open.job).name,
    }));
  const siblings = cell === undefined ? cells : plannedJob(plan, cell.of).cells;
  const isWaiting = job.state === 'BLOCKED' || job.state === 'WAITING';
  const childId = job.details?.childRun as RunId | undefined;
  const openNeeds = job.state === 'BLOCKED' && job.unmet > 0 ? await named(needs, MOST_NAMED) : [];
  const openCells = isWaiting && siblings !== undefined ? await named(siblings, MOST_CELLS) : [];
  const matrixJob = cell === undefined ? [] : await loadJobs(tx, [{ runId, job: cell.of }]);
  const child = childId === undefined ? undefined : await findRun(tx, project, childId);
  const isOffered = job.state === 'OFFERED';
  const offer = isOffered ? await offeredAttempt(tx, { runId, job: index }, job.attempt) : undefined;
  const matrixHold = matrixJob[0]?.record.hold;
  return {
    openNeeds,
    openCells,
    ...(matrixHold !== undefined && { matrixHold }),
    ...(childId !== undefined && child !== undefined && { child: { runId: childId, state: child.view.state } }),
    ...(offer !== undefined && { offer }),
  };
}

/** What the job shares, as it is, or as it would be now; undefined: nobody can know it yet. */
async function sharesOf(
  tx: Tx,
  { runId, plan }: StoredRun,
  run: RunHeader,
  planned: PlannedJob,
  { state, details = {} }: JobRecord,
): Promise<Shares | undefined> {
  const { concurrency, rateLimits } = planned.definition;
  if (concurrency === undefined && rateLimits === undefined) return {};
  if (state !== 'BLOCKED') return details;
  const facts = (await loadFacts(tx, [runId])).get(runId);
  await inTurns(compileAhead(plan));
  return sharesBefore({ plan, run, jobs: new Map(), ...(facts !== undefined && { facts }) }, planned);
}

async function readGroup(tx: Tx, project: string, key: string): Promise<GroupFacts> {
  const group = { project, key };
  const [state] = await loadGroups(tx, [group]);
  if (state === undefined) throw new Error('a group was not loaded');
  return { key, state, holders: await groupMembers(tx, group, 'HOLDERS', FIRST, MOST_HOLDERS) };
}

async function readRates(
  tx: Tx,
  project: string,
  { definition }: PlannedJob,
  shares: Shares | undefined,
): Promise<readonly RateFacts[]> {
  const taken = ratesTaken(definition, shares);
  const states = await loadRates(
    tx,
    taken.map(({ key }) => ({ project, key })),
  );
  return taken.map(({ key, cost, costMs, periodMs }, n) => {
    const state = states[n];
    if (state === undefined) throw new Error('a rate limit was not loaded');
    return { key, state, cost, costMs, periodMs };
  });
}
