// What a flush reads for its decisions: the runs that it has locked, and of these the jobs, attempts and facts that are asked for.
import type { RunId } from '../core/ids.ts';
import type { JobRecord } from '../core/run-state.ts';
import { lockAttempts } from '../store/attempt-rows.ts';
import { loadJobs } from '../store/job-rows.ts';
import { loadFacts, loadRuns } from '../store/ledger-rows.ts';
import { jobOutcomes } from '../store/outcome-rows.ts';
import type { Tx } from '../store/sql.ts';
import type { DriverSchemas } from './driver-schemas.ts';
import type { Plans } from './plans.ts';
import type { CachedRun, RunCache } from './run-cache.ts';
import { driversToAsk, specProblems } from './spec-check.ts';
import { attemptNeeded } from '../core/command-needs.ts';
import { addFacts, addLoaded, contentKey, type RunWork, type Wanted } from './run-work.ts';

type LockedRun = Pick<CachedRun, 'context' | 'header'>;

/** Locked runs as they are now, in the order of their locks: those that the cache does not know are read. */
export async function loadLocked(
  tx: Tx,
  seqs: ReadonlyMap<RunId, number>,
  plans: Plans,
  cache: RunCache,
): Promise<readonly LockedRun[]> {
  const found = new Map<RunId, LockedRun | undefined>();
  for (const [runId, seq] of seqs) found.set(runId, cache.find(runId, seq));
  const unknown = [...seqs.keys()].filter((runId) => found.get(runId) === undefined);
  const rows = unknown.length === 0 ? [] : await loadRuns(tx, unknown);
  const compiled = await plans.load(
    tx,
    rows.map((row) => row.digest),
  );
  for (const { digest, header, ...origin } of rows) {
    const plan = compiled.get(digest);
    if (plan === undefined) throw new Error(`the plan of run ${origin.runId} was not loaded`);
    found.set(origin.runId, { context: { ...origin, plan }, header });
  }
  return [...found].map(([runId, run]) => {
    if (run === undefined) throw new Error(`run ${runId} was not loaded`);
    return run;
  });
}

export async function load(
  tx: Tx,
  works: readonly RunWork[],
  wanted: (work: RunWork) => readonly number[],
  cache: RunCache,
): Promise<void> {
  const keys = works.flatMap((work) => {
    const { runId } = work.context;
    const missing = new Set(wanted(work).filter((job) => !work.jobs.has(job)));
    addLoaded(work, takeCached(cache, work, missing));
    return [...missing].map((job) => ({ runId, job }));
  });
  if (keys.length === 0) return;
  const byRun = Map.groupBy(await loadJobs(tx, keys), (job) => job.key.runId);
  for (const work of works) {
    const jobs = byRun.get(work.context.runId) ?? [];
    addLoaded(
      work,
      jobs.map(({ key, record }) => [key.job, record]),
    );
  }
}

/** Takes from `missing` what the cache has. */
function takeCached(cache: RunCache, work: RunWork, missing: Set<number>): (readonly [number, JobRecord])[] {
  const known = cache.find(work.context.runId, work.before.seq)?.jobs;
  const found: (readonly [number, JobRecord])[] = [];
  for (const job of missing) {
    const record = known?.get(job);
    if (record === undefined) continue;
    found.push([job, record]);
    missing.delete(job);
  }
  return found;
}

export async function loadContents(tx: Tx, works: readonly RunWork[]): Promise<void> {
  const keys = works.flatMap((work) => {
    const { runId } = work.context;
    return work.submissions.flatMap(({ command }) => {
      const needed = attemptNeeded(work, command);
      const isMissing = needed !== undefined && !work.contents.has(contentKey(needed.job, needed.attempt));
      return isMissing ? [{ runId, ...needed }] : [];
    });
  });
  if (keys.length === 0) return;
  const byRun = Map.groupBy(await lockAttempts(tx, keys), (attempt) => attempt.runId);
  for (const work of works) {
    for (const { job, attempt, content } of byRun.get(work.context.runId) ?? []) {
      work.contents.set(contentKey(job, attempt), content);
    }
  }
}

/** Those of the run's plan, and of what is about to be appended to it. */
function driversOf({ context, submissions }: RunWork): ReadonlySet<string> {
  const appended = submissions.flatMap(({ command }) =>
    command.type === 'AppendJobs' && command.violations.length === 0 ? command.jobs : [],
  );
  return new Set([...driversToAsk(context.plan), ...appended.flatMap(({ driver }) => (driver === '' ? [] : [driver]))]);
}

/** Few runs have expressions: what these ask for is read run by run. */
export async function loadWantedFacts(
  tx: Tx,
  wanted: ReadonlyMap<RunWork, Wanted>,
  schemas: DriverSchemas,
): Promise<void> {
  const works = [...wanted.keys()].filter((work) => wanted.get(work)?.outputsOf !== undefined);
  if (works.length === 0) return;
  const facts = await loadFacts(
    tx,
    works.flatMap((work) => (work.facts === undefined ? [work.context.runId] : [])),
  );
  await Promise.all(
    works.map(async (work) => {
      const { runId } = work.context;
      const stored = facts.get(runId);
      const fresh = stored && { ...stored, whyUnfit: await specProblems(schemas, driversOf(work)) };
      const known = work.facts ?? fresh;
      if (known === undefined) throw new Error(`run ${runId} was not loaded`);
      const jobs = wanted.get(work)?.outputsOf ?? [];
      const outcomes = jobs.length === 0 ? [] : await jobOutcomes(tx, runId, jobs);
      addFacts(
        work,
        known,
        outcomes.map(({ job, outputs }) => [job, outputs]),
      );
    }),
  );
}
