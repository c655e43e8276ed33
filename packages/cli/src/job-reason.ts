// Owns why jobs were skipped or cancelled, in one line each: from how their needs ended, their `when`, their matrix and their run. Nothing is
// said that these do not show.
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { GateExpiry, type Job, type JobDefinition, JobState, type Run, RunCondition, RunState } from '@conveyor/client';
import { enumName } from './text.ts';

/** Jobs that are named in one line. */
const namedJobs = 3;

/** What a skip or a cancel follows from. */
export interface Causes {
  readonly run: Pick<Run, 'definition' | 'state' | 'cancelReason'>;
  /** The jobs that it needs, or the first of them. */
  readonly needed: readonly Job[];
  /** The cells of its matrix. */
  readonly cells: readonly Job[];
  /** Jobs of its run whose failure counts. */
  readonly failed: readonly Job[];
}

/** Why a job has not run, or not to its end; empty when it has, and when that is not known. */
export function whyNot(job: Job, causes: Causes): string {
  if (job.state === JobState.SKIPPED) return whySkipped(job, causes);
  return job.state === JobState.CANCELLED ? whyCancelled(job, causes) : '';
}

/** Why each job has not run, or not to its end, by its name: as far as the definitions are known, and of a list of all jobs of a run. */
export function whyEachNot(
  jobs: readonly Job[],
  definitions: readonly JobDefinition[],
  run: Causes['run'],
): ReadonlyMap<string, string> {
  const byName = new Map(jobs.map((job) => [job.name, job]));
  const definitionsByName = new Map(definitions.map((definition) => [definition.name, definition]));
  const cells = Map.groupBy(jobs, ({ matrixJob }) => matrixJob);
  // Only the first counts that failed: of a matrix for its cells, of all for the run.
  const failedByMatrix = Map.groupBy(jobs.filter(hasFailed), ({ matrixJob }) => matrixJob);
  const failed = Array.from(failedByMatrix.values()).flatMap((some) => firstOf(some) ?? []);
  return new Map(
    jobs.map((job) => {
      const definition = definitionsByName.get(job.matrixJob === '' ? job.name : job.matrixJob);
      const needed = job.needs.flatMap((need) => byName.get(need) ?? []);
      const own = job.matrixJob === '' ? (cells.get(job.name) ?? []) : [];
      return [job.name, whyNot({ ...job, definition }, { run, needed, cells: own, failed })];
    }),
  );
}

/** Whether the failure of a job counts. */
export function hasFailed({ state, failureAllowed }: Job): boolean {
  return state === JobState.FAILED && !failureAllowed;
}

function whySkipped({ definition, condition, matrixJob }: Job, { needed, cells }: Causes): string {
  if (condition?.held === false) return 'its condition does not hold';
  if (definition === undefined) return '';
  const { when, gate, matrix } = definition;
  const isGroup = matrix !== undefined && matrixJob === '';
  // A cell is made only once the needs of its matrix let it run.
  if (matrixJob === '' && when === RunCondition.FAILURE && !needed.some(hasFailed)) {
    return 'nothing that it needs failed';
  }
  if (matrixJob === '' && (when === RunCondition.SUCCESS || when === RunCondition.UNSPECIFIED)) {
    const bad = needed.filter((need) => need.state !== JobState.SUCCEEDED && !need.failureAllowed);
    if (bad.length > 0) return `${endsText(bad)}, and it runs when all that it needs succeed`;
  }
  if (isGroup) return cells.length === 0 ? 'its matrix has no cells' : 'all of its cells were skipped';
  return gate?.onTimeout === GateExpiry.SKIP ? 'too few people answered it in time' : '';
}

function whyCancelled(job: Job, { run, failed }: Causes): string {
  const { when, matrix } = job.definition ?? {};
  const siblings = failed.filter(({ matrixJob }) => matrixJob !== '' && matrixJob === job.matrixJob);
  const sibling = matrix?.failFast === true ? firstBefore(job, siblings) : undefined;
  if (sibling !== undefined) return `${sibling.name} failed, and its matrix stops at its first failure`;
  const outlives = when === RunCondition.ALWAYS || when === RunCondition.FINALLY;
  const first = run.definition?.failFast === true && !outlives ? firstBefore(job, failed) : undefined;
  if (first !== undefined) return `${first.name} failed, and its run stops at its first failure`;
  const isOfRun = job.cancelReason === run.cancelReason;
  if (job.cancelReason !== '' && !isOfRun) return `it was cancelled: ${job.cancelReason}`;
  if (run.state !== RunState.CANCELLED && run.state !== RunState.CANCELLING) return whyAlone(job);
  return `its run was cancelled${run.cancelReason === '' ? '' : `: ${run.cancelReason}`}`;
}

/** Its run goes on. What a matrix or a call is cancelled for is for its cells, or its run, to tell. */
function whyAlone({ definition, matrixJob }: Job): string {
  const { matrix, call } = definition ?? {};
  if (definition === undefined || call !== undefined || (matrix !== undefined && matrixJob === '')) return '';
  return 'it was cancelled by itself';
}

/** The job that finished first, and no later than this one. */
function firstBefore(job: Job, others: readonly Job[]): Job | undefined {
  const first = firstOf(others);
  return first !== undefined && finishMs(first) <= finishMs(job) ? first : undefined;
}

function firstOf(jobs: readonly Job[]): Job | undefined {
  return jobs.toSorted((a, b) => finishMs(a) - finishMs(b))[0];
}

function finishMs({ finishTime }: Job): number {
  return finishTime === undefined ? 0 : timestampMs(finishTime);
}

/** How jobs ended, such as `build failed, lint was skipped`. */
function endsText(jobs: readonly Job[]): string {
  const told = jobs.slice(0, namedJobs).map(({ name, state }) => {
    return `${name} ${state === JobState.FAILED ? '' : 'was '}${enumName(JobState, state)}`;
  });
  const more = jobs.length - told.length;
  return `${told.join(', ')}${more === 0 ? '' : ` and ${more} more did not succeed`}`;
}
