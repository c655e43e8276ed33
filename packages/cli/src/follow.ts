// Owns following a run: its events as they come and the logs of its attempts, until it has finished. The run goes on
// whatever becomes of the follower.
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { type Event, type Job, JobState, type Run, RunState } from '@conveyor/client';
import { EventSchema } from '@conveyor/protocol/conveyor/v1/event_pb.js';
import { type Cli, type OutputOptions, jsonOf } from './cli.ts';
import { clock, eventText, isMain } from './event-text.ts';
import { exitCodes } from './failure.ts';
import { jobFailureText } from './failure-text.ts';
import { createGateHints } from './gate-hints.ts';
import { createOutageNotice } from './outage.ts';
import { createPrefixes } from './prefixes.ts';
import { createProgress } from './progress.ts';
import { areCells, definedJobs } from './run-jobs.ts';
import { createSkipReasons } from './skip-reasons.ts';
import { createStallHint } from './stall-hint.ts';
import { createTails } from './tails.ts';
import { countsText, elapsed, enumName, shellWord, stateCell } from './text.ts';

/** What to show of a run. */
export interface FollowOptions {
  /** Which events to show, one a line: `all` with their numbers; `main` leaves out those that another one soon follows from. */
  readonly events: 'all' | 'main' | 'none';
  /** Show logs. */
  readonly logs: boolean;
}

/** Follows a run to its end, says how it ended, and exits by it. As JSON, it shows events only, one a line. */
export async function followToExit(cli: Cli, runId: string, show: FollowOptions & OutputOptions): Promise<void> {
  await untilInterrupted(cli, runId, async (signal) => {
    let silent: ReadonlySet<string> = new Set();
    if (show.output === 'json') {
      for await (const event of cli.client().runs.watch(runId, { signal })) {
        await cli.terminal.print(JSON.stringify(jsonOf(EventSchema, event)));
      }
    } else {
      silent = await follow(cli, runId, show, signal);
    }
    const run = await cli.client().runs.get(runId, { signal });
    if (show.output === 'table') await cli.terminal.print(await endText(cli, run, silent, signal));
    cli.exitWith(exitCodeOf(run));
  });
}

/** Runs `action` until Ctrl-C, and then says how to go on with the run, if it is about one. */
export async function untilInterrupted(
  { terminal, exitWith }: Cli,
  runId: string | undefined,
  action: (signal: AbortSignal) => Promise<unknown>,
): Promise<void> {
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort();
  process.once('SIGINT', interrupt);
  try {
    await action(interrupted.signal);
  } catch (thrown) {
    if (!interrupted.signal.aborted) throw thrown;
    if (runId !== undefined) {
      terminal.note(`run ${runId} goes on`);
      terminal.note(`next: conveyor watch ${runId}, or conveyor cancel ${runId}`);
    }
    exitWith(exitCodes.interrupted);
  } finally {
    process.off('SIGINT', interrupt);
  }
}

/**
 * Shows a run until it has finished. Throws the signal's reason on abort.
 * @returns The ids of jobs whose newest attempt logged nothing.
 */
export async function follow(
  cli: Cli,
  runId: string,
  show: FollowOptions,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const { terminal } = cli;
  const { runs } = cli.client();
  const run = await runs.get(runId, { signal });
  const prefixes = createPrefixes(
    terminal.colors,
    definedJobs(run).map(({ name }) => name),
  );
  const tails = createTails(cli, prefixes, signal);
  const outage = createOutageNotice(terminal);
  const gates = createGateHints(terminal, run);
  const skipReason = createSkipReasons(cli);
  const silent = new Set<string>();
  using progress = createProgress(
    terminal,
    run,
    run.createTime === undefined ? Date.now() : timestampMs(run.createTime),
  );
  await using stall = createStallHint(cli, runId, signal);
  try {
    for await (const event of runs.watch(runId, { signal, onReconnect: outage.onReconnect })) {
      outage.heard();
      progress.add(event);
      stall.add(event);
      if (event.kind.case === 'jobsAdded') {
        const added = event.kind.value;
        prefixes.add(added.jobs.map(({ name }) => name));
        if (event.seq > run.seq && !areCells(added)) gates.learn(await runs.get(runId, { signal }));
      }
      if (event.kind.case === 'attemptEnded') {
        if (event.kind.value.logSize === 0n) silent.add(event.jobId);
        else silent.delete(event.jobId);
      }
      await tails.settled(event);
      if (show.events === 'all' || (show.events === 'main' && isMain(event))) {
        const number = show.events === 'all' ? terminal.colors.dim(`${event.seq} `.padStart(numberWidth)) : '';
        await printEvent(cli, `${number}${prefixes.of(event.job, '*')}`, event, await skipReason(event));
      }
      gates.add(event);
      if (show.logs && event.kind.case === 'attemptStarted') tails.add(event);
    }
    await tails.drained();
    return silent;
  } finally {
    await tails.stop();
  }
}

/** Of the number of an event and a space. */
const numberWidth = 5;

async function printEvent({ terminal }: Cli, prefix: string, event: Event, reason: string): Promise<void> {
  const text = eventText(event);
  if (text === undefined || event.time === undefined || event.kind.case === 'runFinished') return;
  await terminal.print(`${prefix}${terminal.colors.dim(clock(timestampMs(event.time)))} ${text}${reason}`);
}

async function endText(cli: Cli, run: Run, silent: ReadonlySet<string>, signal: AbortSignal): Promise<string> {
  const state = stateCell(enumName(RunState, run.state), cli.terminal.colors);
  const lines = [
    `run ${run.runId} ${state.paint(state.text)} in ${elapsed(run.createTime, run.finishTime)}: ${countsText(run)}`,
  ];
  for await (const job of cli.client().jobs.list(run.runId, { states: [JobState.FAILED] }, { signal })) {
    lines.push(`  ${job.name} failed: ${jobFailureText(job)}`, `    ${moreOf(job, silent)}`);
  }
  return lines.join('\n');
}

/** The command that tells more of a job that failed. */
function moreOf({ runId, name, jobId, attempt, childRunId }: Job, silent: ReadonlySet<string>): string {
  if (childRunId !== '') return `conveyor describe run ${childRunId}`;
  const what = attempt > 0 && !silent.has(jobId) ? 'logs' : 'describe job';
  return `conveyor ${what} ${shellWord(`${runId}/${name}`)}`;
}

function exitCodeOf({ state }: Run): number {
  if (state === RunState.SUCCEEDED) return exitCodes.succeeded;
  return state === RunState.CANCELLED ? exitCodes.cancelled : exitCodes.failed;
}
