// Decisions on jobs that a running job appends to its own run: they are checked against the run as it is, and go on as if its definition
// had held them. Appending what is there as it is changes nothing, so whoever is not sure asks again.
import { heldBy, stale } from './attempt.ts';
import { addFound, addViolation, type Found, jsonBytes, quote } from './check-fields.ts';
import { checkGraph, checkNeedsCount } from './check-graph.ts';
import type { Command, Reply } from './commands.ts';
import type { JobDefinition } from './definition.ts';
import { type Draft, emit } from './draft.ts';
import { canonicalJson } from './json.ts';
import { LIMITS } from './limits.ts';
import { type Plan, plannedJob } from './plan.ts';
import { DONE, refuse } from './replies.ts';
import { invalidFields } from './refusal.ts';
import { jobOf } from './run-state.ts';
import { assertReady, settleNew } from './settle.ts';
import type { Slices } from './slices.ts';

export type AppendCommand = Extract<Command, { type: 'AppendJobs' }>;

/** Decides in slices on whether jobs may be appended, which takes long when there are many; what follows is for the draft to put off. */
export function* appendJobs(draft: Draft, command: AppendCommand): Slices<Reply> {
  const { job, attempt, content } = command;
  const live = heldBy(draft, command);
  if (live?.attemptStartedMs === undefined) return stale(content);
  const fresh = jobsUnknown(draft.plan, command.jobs);
  // It was done before, and is so still, whatever would be said of it now.
  if (fresh.length === 0 && command.jobs.length > 0) return DONE;
  if (draft.run.cancel !== undefined || jobOf(draft, job).state === 'CANCELLING' || live.stop !== undefined) {
    return refuse('CANCEL_REQUESTED', 'the job is being stopped: it cannot append others any more');
  }
  // What always runs goes on after the failure that stopped the others; nothing new begins.
  if (draft.plan.definition.failFast === true && draft.run.counts.failed > 0) {
    return refuse(
      'CANCEL_REQUESTED',
      'the run stops at its first failure, which it has had: nothing can be appended any more',
    );
  }
  const found: Found = [];
  for (const violation of command.violations) addFound(found, violation);
  yield* checkAppended(found, draft.plan, job, command.jobs, fresh);
  if (found.length > 0) return { type: 'Refused', refusal: invalidFields(found) };
  const first = draft.plan.jobs.length;
  emit(draft, { type: 'JobsAppended', job, attempt, jobs: fresh });
  for (const { index } of draft.plan.jobs) {
    if (index >= first || plannedJob(draft.plan, index).definition.when === 'FINALLY') draft.touched.add(index);
  }
  assertReady(
    draft,
    draft.plan.jobs.slice(first).map(({ index }) => index),
  );
  settleNew(draft, first);
  return DONE;
}

/** The jobs that the run does not have as they are. */
function jobsUnknown(plan: Plan, jobs: readonly JobDefinition[]): readonly JobDefinition[] {
  const known = new Map(plan.jobs.map(({ name, definition }) => [name, definition]));
  return jobs.filter((job) => {
    const same = known.get(job.name);
    return same === undefined || canonicalJson(same) !== canonicalJson(job);
  });
}

/** Adds what is wrong with the jobs to `found`, with paths under `jobs`. @param fresh Those of them that are not there yet. */
function* checkAppended(
  found: Found,
  plan: Plan,
  by: number,
  jobs: readonly JobDefinition[],
  fresh: readonly JobDefinition[],
): Slices<void> {
  const { name, definition } = plannedJob(plan, by);
  if (definition.when === 'FINALLY') addViolation(found, 'jobs', `${quote(name)} is FINALLY: nothing comes after it`);
  const taken = new Set(plan.jobs.map((planned) => planned.name));
  const isFresh = new Set(fresh);
  for (const [index, job] of jobs.entries()) {
    if (job.when === 'FINALLY') {
      addViolation(
        found,
        `jobs[${index}].when`,
        'must not be FINALLY: the last jobs of a run are those of its definition',
      );
    }
    if (taken.has(job.name) && isFresh.has(job)) {
      addViolation(found, `jobs[${index}].name`, `the run has another job ${quote(job.name)}: choose a new name`);
    }
    for (const [position, secret] of job.secrets.entries()) {
      if (definition.secrets.includes(secret)) continue;
      const field = `jobs[${index}].secrets[${position}]`;
      addViolation(
        found,
        field,
        `${quote(name)} does not ask for ${quote(secret)} itself: it cannot give it to others`,
      );
    }
  }
  checkNoCells(found, plan, jobs, isFresh);
  const names = new Set(jobs.map((job) => job.name));
  const others = plan.jobs
    .filter((planned) => !names.has(planned.name))
    .map((planned) => graphJob(planned.name, planned.definition));
  yield* checkGraph(found, 'jobs', [...jobs, ...others]);
  checkGrowth(found, plan, fresh);
}

/**
 * A matrix that is worked out again may make other cells: a rerun would have to drop without a word what needs one of them. Its cells stay
 * in the graph all the same, so that no other name is proposed for them.
 */
function checkNoCells(
  found: Found,
  plan: Plan,
  jobs: readonly JobDefinition[],
  isFresh: ReadonlySet<JobDefinition>,
): void {
  const cells = new Map(plan.jobs.flatMap(({ name, cell, definition }) => (cell ? [[name, definition.name]] : [])));
  for (const [index, job] of jobs.entries()) {
    if (!isFresh.has(job)) continue;
    for (const [position, need] of job.needs.entries()) {
      const matrix = cells.get(need);
      if (matrix === undefined) continue;
      const field = `jobs[${index}].needs[${position}]`;
      addViolation(
        found,
        field,
        `${quote(need)} is a cell, which a rerun may not have: need ${quote(matrix)}, its matrix`,
      );
    }
  }
}

function graphJob(name: string, { needs, when }: JobDefinition) {
  return { name, needs, when };
}

function checkGrowth(found: Found, plan: Plan, fresh: readonly JobDefinition[]): void {
  const { jobs: base, added = [] } = plan.definition;
  const appended = added.flatMap((addition) => ('jobs' in addition ? [addition] : []));
  const total = plan.jobs.length + fresh.length;
  if (total > LIMITS.jobsPerRun) {
    addViolation(found, 'jobs', `with them the run has ${total} jobs, at most ${LIMITS.jobsPerRun} are allowed`);
  }
  if (fresh.length > 0 && appended.length >= LIMITS.appends) {
    addViolation(
      found,
      'jobs',
      `jobs were appended ${LIMITS.appends} times to the run, which is the limit: append more at a time`,
    );
  }
  const all = [...appended.flatMap(({ jobs }) => jobs), ...fresh];
  const bytes = jsonBytes(all);
  if (bytes > LIMITS.definitionBytes) {
    addViolation(
      found,
      'jobs',
      `with them what was appended has ${bytes} bytes as JSON, at most ${LIMITS.definitionBytes} are allowed`,
    );
  }
  const cells = new Set(plan.jobs.flatMap(({ cells: own = [] }) => own));
  const own = plan.jobs.filter(({ index }) => !cells.has(index)).map(({ definition }) => definition);
  checkNeedsCount(found, 'jobs', [...own, ...fresh]);
  const matrices = [...base, ...all].filter(({ matrix }) => matrix !== undefined).length;
  if (matrices > LIMITS.matrices) {
    addViolation(found, 'jobs', `with them ${matrices} jobs of the run have a matrix, at most ${LIMITS.matrices} may`);
  }
}
