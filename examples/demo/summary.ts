// Owns what the demo says of a run that has finished: a table of its jobs, their outputs, and how it ended and why.
import { type JsonValue, toJson } from '@bufbuild/protobuf';
import { type Timestamp, timestampMs, ValueSchema } from '@bufbuild/protobuf/wkt';
import { type Client, type Job, JobState, type Run, RunState } from '@conveyor/client';

/** How one job ended. */
export interface JobSummary {
  readonly name: string;
  /** `succeeded`, `failed`, `skipped` or `cancelled`. */
  readonly outcome: string;
  /** From the start of its first attempt to its end; undefined when it never ran. */
  readonly tookMs?: number | undefined;
  /** The number of its last attempt; 0 when it never ran. */
  readonly attempt: number;
  /** The driver instance of that attempt; empty when it never ran. */
  readonly instance: string;
  readonly outputs: Readonly<Record<string, JsonValue>>;
  /** Why it failed. */
  readonly failure?: string | undefined;
  /** The end of its log, when it failed. */
  readonly lastLines: readonly string[];
}

/** How a run ended. */
export interface RunSummary {
  readonly runId: string;
  /** `succeeded`, `failed` or `cancelled`. */
  readonly outcome: string;
  readonly tookMs: number;
  readonly jobs: readonly JobSummary[];
}

/** Colours a text by the outcome that it tells of. */
export type Paint = (outcome: string, text: string) => string;

const shownLines = 15;

/** Reads how a finished run ended. */
export async function summarize(client: Client, run: Run): Promise<RunSummary> {
  const jobs = await Array.fromAsync(client.jobs.list(run.runId));
  return {
    runId: run.runId,
    outcome: RunState[run.state].toLowerCase(),
    tookMs: elapsedMs(run.createTime, run.finishTime) ?? 0,
    jobs: await Promise.all(jobs.map((job) => summarizeJob(client, job))),
  };
}

/** The summary as it is shown: a table, then outputs, then what went wrong. */
export function summaryText({ runId, outcome, tookMs, jobs }: RunSummary, paint: Paint): string {
  const rows = [
    ['JOB', 'OUTCOME', 'TIME', 'ATTEMPT', 'DRIVER'],
    ...jobs.map((job) => [job.name, job.outcome, seconds(job.tookMs), String(job.attempt || '-'), job.instance || '-']),
  ];
  const outputs = jobs.flatMap((job) =>
    Object.entries(job.outputs).map(([key, value]) => [`${job.name}.${key}`, textOf(value)]),
  );
  const sections = [
    align(rows)
      .map((line, index) => paint(jobs[index - 1]?.outcome ?? '', line))
      .join('\n'),
    outputs.length === 0 ? '' : ['outputs', ...align(outputs).map((line) => `  ${line}`)].join('\n'),
    ...jobs.filter((job) => job.outcome === 'failed').map((job) => paint('failed', failureText(job))),
    skippedText(jobs),
    paint(outcome, `run ${runId} ${outcome} after ${seconds(tookMs)}`),
  ];
  return sections.filter((section) => section !== '').join('\n\n');
}

async function summarizeJob(client: Client, job: Job): Promise<JobSummary> {
  const attempts = await Array.fromAsync(client.jobs.attempts(job.jobId));
  const outputs = Object.entries(job.outputs).map(([key, value]) => [key, toJson(ValueSchema, value)] as const);
  const hasLog = job.state === JobState.FAILED && job.attempt > 0;
  return {
    name: job.name,
    outcome: JobState[job.state].toLowerCase(),
    tookMs: elapsedMs(job.startTime, job.finishTime),
    attempt: job.attempt,
    instance: attempts.at(-1)?.driverInstance ?? '',
    outputs: Object.fromEntries(outputs),
    failure: job.failure?.message,
    lastLines: hasLog ? await lastLines(client, job.jobId) : [],
  };
}

async function lastLines(client: Client, jobId: string): Promise<string[]> {
  const parts = await Array.fromAsync(client.jobs.readLog(jobId));
  const log = Buffer.concat(parts.flatMap(({ chunks }) => chunks.map(({ data }) => data))).toString();
  return log.trimEnd().split('\n').slice(-shownLines);
}

function elapsedMs(start: Timestamp | undefined, finish: Timestamp | undefined): number | undefined {
  return start === undefined || finish === undefined ? undefined : timestampMs(finish) - timestampMs(start);
}

function failureText({ name, failure = '', lastLines: lines }: JobSummary): string {
  const said = lines.length === 0 ? 'it never ran' : `the end of its log, all of which is above behind \`${name} |\`:`;
  return [`${name} FAILED: ${failure}; ${said}`, ...lines.map((line) => `  ${line}`)].join('\n');
}

function skippedText(jobs: readonly JobSummary[]): string {
  const skipped = jobs.filter(({ outcome }) => outcome === 'skipped').map(({ name }) => name);
  return skipped.length === 0 ? '' : `skipped, since what they need did not succeed: ${skipped.join(', ')}`;
}

function seconds(ms: number | undefined): string {
  return ms === undefined ? '-' : `${(ms / 1000).toFixed(1)}s`;
}

function textOf(value: JsonValue): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function align(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
