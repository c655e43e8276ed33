// `conveyor logs`: the bytes that attempts wrote. One job's log is shown exactly as it was written.
import { type Job, JobState, type LogPart, LogState } from '@conveyor/client';
import type { Command } from 'commander';
import { type Cli, findJob, parseTarget } from '../cli.ts';
import { UsageError } from '../failure.ts';
import { jobFailureText } from '../failure-text.ts';
import { follow, untilInterrupted } from '../follow.ts';
import { readSurroundings } from '../job-sections.ts';
import { writeLines } from '../log-lines.ts';
import { createOutageNotice } from '../outage.ts';
import { createPrefixes } from '../prefixes.ts';
import type { Terminal } from '../terminal.ts';
import { enumName, printable, shellWord } from '../text.ts';

export function addLogs(program: Command, cli: Cli): void {
  program
    .command('logs')
    .summary('show logs')
    .description('Shows the log of a job exactly as it was written, or the logs of all jobs of a run, line by line.')
    .argument('<run[/job]>', 'id of the run, or of the run and the name of a job')
    .option('-f, --follow', 'go on with what comes, until the job or run has finished')
    .option('--attempt <number>', 'an attempt of the job (default: the newest)', parseAttempt)
    .addHelpText(
      'after',
      '\nExamples:\n  conveyor logs RUN\n  conveyor logs RUN/JOB -f\n  conveyor logs RUN/JOB --attempt 1 > build.log',
    )
    .action((target: string, options: LogsOptions) => logs(cli, target, options));
}

interface LogsOptions {
  readonly follow?: true;
  readonly attempt?: number;
}

async function logs(cli: Cli, target: string, { follow: isFollowed, attempt }: LogsOptions): Promise<void> {
  const { runId, jobName } = parseTarget(target);
  if (jobName === undefined) {
    if (attempt !== undefined) throw new UsageError('--attempt is for one job', `write ${runId}/JOB`);
    if (!isFollowed) return storedLogs(cli, runId);
    return untilInterrupted(cli, runId, (signal) => follow(cli, runId, { events: 'none', logs: true }, signal));
  }
  const job = await withLog(cli, await findJob(cli.client(), runId, jobName));
  if (job.attempt === 0) await assertDriven(cli, job);
  if (job.attempt === 0 && (!isFollowed || job.finishTime !== undefined)) return noteNoLog(cli, job);
  if (!isFollowed) return storedLog(cli, job, attempt);
  return untilInterrupted(cli, runId, (signal) => followLog(cli, job, attempt, signal));
}

/** The logs of a run, job by job. */
async function storedLogs({ client, terminal }: Cli, runId: string): Promise<void> {
  const jobs = await Array.fromAsync(client().jobs.list(runId));
  const prefixes = createPrefixes(
    terminal.colors,
    jobs.map(({ name }) => name),
  );
  for (const { jobId, name, attempt } of jobs) {
    if (attempt === 0) continue;
    const log = tellExpired(terminal, client().jobs.readLog(jobId, { attempt }));
    await writeLines(terminal, prefixes.of(name, '|'), log);
  }
}

async function storedLog({ client, terminal }: Cli, job: Job, attempt: number | undefined): Promise<void> {
  return writeBytes(terminal, client().jobs.readLog(job.jobId, { attempt }));
}

/** Says why there is nothing to show, and what tells more. */
async function noteNoLog(cli: Cli, { jobId, runId, name, state, finishTime }: Job): Promise<void> {
  const target = shellWord(printable(`${runId}/${name}`));
  if (finishTime === undefined) {
    cli.terminal.note(`job ${name} has no attempt yet: it is ${enumName(JobState, state)}`);
    return cli.terminal.note(`next: conveyor explain job ${target}`);
  }
  const job = await cli.client().jobs.get(jobId);
  const { why } = await readSurroundings(cli, job, undefined);
  const reason = why || jobFailureText(job);
  cli.terminal.note(`job ${name} never ran: ${enumName(JobState, state)}${reason === '' ? '' : `: ${reason}`}`);
  cli.terminal.note(`next: conveyor describe job ${target}`);
}

/** One attempt's log, or those of the newest and all that come after it. */
async function followLog(cli: Cli, job: Job, attempt: number | undefined, signal: AbortSignal): Promise<void> {
  const { runs, jobs } = cli.client();
  const { onReconnect, heard } = createOutageNotice(cli.terminal);
  const options = { signal, onReconnect };
  const show = (number: number) =>
    writeBytes(cli.terminal, jobs.tailLog(job.jobId, { attempt: number }, options), heard);
  if (attempt !== undefined) return show(attempt);
  for await (const event of runs.watch(job.runId, options)) {
    heard();
    if (event.jobId !== job.jobId) continue;
    if (event.kind.case === 'attemptStarted' && event.attempt >= job.attempt) await show(event.attempt);
    if (event.kind.case === 'jobFinished') return;
  }
}

/** The job whose log is meant: a job that a rerun inherited has none of its own. */
async function withLog({ client }: Cli, job: Job): Promise<Job> {
  let original = job;
  while (original.inheritedFrom !== '') original = await client().jobs.get(original.inheritedFrom);
  return original;
}

/** Cells that are named. */
const namedCells = 3;

/** @throws UsageError for a job that no driver runs, with where the logs are instead. */
async function assertDriven(
  { client }: Cli,
  { jobId, runId, name, matrixJob, childRunId, finishTime }: Job,
): Promise<void> {
  const { jobs } = client();
  const { definition } = await jobs.get(jobId);
  const target = shellWord(printable(`${runId}/${name}`));
  const show = (target: string) => `\`conveyor logs ${shellWord(printable(target))}\``;
  if (definition?.matrix !== undefined && matrixJob === '') {
    const listed = await Array.fromAsync(jobs.list(runId, { names: [name] }, { pageSize: 1_000 }));
    const cells = listed.filter((job) => job.matrixJob === name);
    const shown = cells.slice(0, namedCells).map((cell) => show(`${runId}/${cell.name}`));
    if (cells.length > shown.length) shown.push(`and so on for ${cells.length} cells`);
    const hint =
      shown.length === 0
        ? `${finishTime === undefined ? 'it has no cells yet' : 'it had no cells'}: \`conveyor describe job ${target}\` shows why`
        : `each cell has its own: ${shown.join(', ')}`;
    throw new UsageError(`job ${name} is a matrix, which no driver runs`, hint);
  }
  if (definition?.gate !== undefined) {
    const hint = `\`conveyor describe job ${target}\` shows who answered it`;
    throw new UsageError(`job ${name} is a gate, which no driver runs`, hint);
  }
  if (definition?.call === undefined) return;
  const noRun =
    finishTime === undefined
      ? 'its run has not been made yet'
      : `it made no run: \`conveyor describe job ${target}\` shows why`;
  const hint = childRunId === '' ? noRun : `its run has the logs: ${show(childRunId)}`;
  throw new UsageError(`job ${name} is a call, which no driver runs`, hint);
}

async function writeBytes(terminal: Terminal, parts: AsyncIterable<LogPart>, heard = () => {}): Promise<void> {
  for await (const { chunks } of tellExpired(terminal, parts)) {
    heard();
    for (const { data } of chunks) await terminal.write(data);
  }
}

/** Passes a log on, and says why it is empty when its bytes are gone. */
async function* tellExpired(terminal: Terminal, parts: AsyncIterable<LogPart>): AsyncGenerator<LogPart, void> {
  for await (const part of parts) {
    yield part;
    if (part.logState !== LogState.EXPIRED) continue;
    terminal.note(`the log of attempt ${part.attempt} is expired: it is older than the server keeps logs`);
  }
}

function parseAttempt(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new UsageError(`'${text}' is no attempt`, 'attempts count from 1');
  return Number(text);
}
