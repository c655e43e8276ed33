// Owns what `conveyor describe job` says of a job beyond its state: why it runs or does not, its cells, and what it waited for.
import { toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { type ConditionPart, type Job, JobState } from '@conveyor/client';
import type { Cli } from './cli.ts';
import { cellsText, cellValues } from './cells.ts';
import { conditionText } from './event-text.ts';
import { hasFailed, whyNot } from './job-reason.ts';
import { jobTable } from './tables.ts';
import { clipped, enumName, table, tally } from './text.ts';

/** Cells that are shown of a matrix. */
const shownCells = 20;
/** Needs that are shown by name. */
const namedNeeds = 5;
/** As many as one call can ask for. */
const readNeeds = 100;

/** What else there is of its run that tells of a job. */
export interface JobSurroundings {
  /** The jobs that it needs, or the first of them; of a matrix only its job. */
  readonly needed: readonly Job[];
  /** The cells of its matrix. */
  readonly cells: readonly Job[];
  /** Why it did not run, or not to its end; empty when it did, and when that is not known. */
  readonly why: string;
}

/** Reads what tells of a job, at the point of its run that it is shown at. */
export async function readSurroundings({ client }: Cli, job: Job, atSeq: bigint | undefined): Promise<JobSurroundings> {
  const { runs, jobs } = client();
  const names = job.needs.slice(0, readNeeds);
  const named = names.length === 0 ? [] : await Array.fromAsync(jobs.list(job.runId, { names }, { atSeq }));
  // A name of a matrix stands for its cells, too.
  const needed = named.filter(({ name }) => names.includes(name));
  const cells: Job[] = [];
  if (job.definition?.matrix !== undefined && job.matrixJob === '') {
    for await (const other of jobs.list(job.runId, {}, { atSeq, pageSize: 1_000 })) {
      if (other.matrixJob === job.name) cells.push(other);
    }
  }
  if (job.state !== JobState.SKIPPED && job.state !== JobState.CANCELLED) return { needed, cells, why: '' };
  const run = await runs.get(job.runId, { atSeq });
  const states = [JobState.FAILED];
  const failed = await Array.fromAsync(jobs.list(job.runId, { states }, { atSeq, pageSize: 1_000 }));
  return { needed, cells, why: whyNot(job, { run, needed, cells, failed: failed.filter(hasFailed) }) };
}

/** Why a job runs, or does not, by name. */
export function reasonFields(
  job: Job,
  { needed, cells, why }: JobSurroundings,
): readonly (readonly [name: string, value: string])[] {
  const { stage, condition, matrixJob, matrix, childRunId } = job;
  return [
    ['Why', why],
    ['Stage', stage],
    ['Cell of', matrixJob],
    ['Matrix', cellValues(matrix)],
    ['Cells', cells.length === 0 ? '' : cellsText(cells)],
    ['Needs', neededText(job, needed)],
    ['Condition', condition === undefined ? '' : `${condition.expression} (${conditionText(condition)})`],
    ['Its run', childRunId === '' ? '' : `${childRunId} (conveyor describe run ${childRunId})`],
  ];
}

/** The value of each part of a job's condition; empty when it has no parts. */
export function conditionSection({ condition }: Job): string {
  const { expression = '', parts = [] } = condition ?? {};
  const told = parts.filter((part) => part.expression !== expression);
  if (told.length === 0) return '';
  return table(
    ['PART OF THE CONDITION', 'VALUE'],
    told.map((part) => [part.expression, partValue(part)]),
  );
}

/** The expressions of a job that could not be worked out, each with the value of each of its parts; empty without any. */
export function failureSection({ expressionFailures: first, expressionFailureCount: count }: Job): string {
  if (count === 0) return '';
  const rows = first.flatMap(({ field, expression, error, parts }) => [
    [clipped(field, 60), clipped(expression, 100), clipped(error, 200)],
    ...parts.map((part) => ['', clipped(part.expression, 100), partValue(part)]),
  ]);
  const left = count - first.length;
  const more = left === 0 ? [] : [`and ${left} more`];
  return [table(['FAILED AT', 'EXPRESSION AND PARTS', 'ERROR OR VALUE'], rows), ...more].join('\n');
}

/** The cells of a matrix, those first that have not succeeded. */
export function cellSection(runId: string, cells: readonly Job[], { terminal }: Cli, atMs: number): string {
  if (cells.length === 0) return '';
  const succeeded = (job: Job) => Number(job.state === JobState.SUCCEEDED);
  const first = cells.toSorted((a, b) => succeeded(a) - succeeded(b)).slice(0, shownCells);
  const left = cells.length - first.length;
  const more = left === 0 ? [] : [`and ${left} more: conveyor get jobs ${runId}`];
  return [jobTable(first, terminal.colors, atMs), ...more].join('\n');
}

function neededText({ needs }: Job, needed: readonly Job[]): string {
  const state = (job: Job) => enumName(JobState, job.state);
  if (needs.length <= namedNeeds) return needed.map((job) => `${job.name} ${state(job)}`).join(', ');
  const counts = tally(needed.map(state));
  return needs.length > readNeeds ? `${needs.length} jobs; of the first ${readNeeds}, ${counts}` : counts;
}

function partValue({ value, note }: ConditionPart): string {
  return value === undefined ? note : clipped(JSON.stringify(toJson(ValueSchema, value)), 200);
}
