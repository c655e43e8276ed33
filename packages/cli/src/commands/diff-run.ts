// `conveyor diff run`: what became of a run from one of its events to another.
import { create } from '@bufbuild/protobuf';
import { type JobChange, type JobPoint, JobState, type Run, WaitReason } from '@conveyor/client';
import { DiffRunResponseSchema } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import type { Command } from 'commander';
import { type Cli, type OutputOptions, jsonOf, outputOption, prettyJson } from '../cli.ts';
import { askedBy, stopText, waitText } from '../event-text.ts';
import { failureText } from '../failure-text.ts';
import { parseSeq } from '../points.ts';
import type { Colors } from '../terminal.ts';
import { type Cell, countsText, enumName, runState, stateCell, table } from '../text.ts';

export function addDiffRun(diff: Command, cli: Cli): void {
  diff
    .command('run')
    .description('Shows what became of a run and its jobs from one of its events to another.')
    .argument('<run>', 'id of the run')
    .argument('<from>', 'number of the event to begin after', parseSeq)
    .argument('[to]', 'number of the last event (default: the newest)', parseSeq)
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor diff run RUN 1')
    .action((runId: string, fromSeq: bigint, toSeq: bigint | undefined, { output }: OutputOptions) =>
      diffRun(cli, runId, { fromSeq, toSeq }, output),
    );
}

async function diffRun(
  { client, terminal }: Cli,
  runId: string,
  range: { readonly fromSeq: bigint; readonly toSeq: bigint | undefined },
  output: OutputOptions['output'],
): Promise<void> {
  const diff = await client().runs.diff(runId, range, { pageSize: 1_000 });
  const jobs = await Array.fromAsync(diff.jobs);
  if (output === 'json') {
    return terminal.print(prettyJson(jsonOf(DiffRunResponseSchema, create(DiffRunResponseSchema, { ...diff, jobs }))));
  }
  const { before, after, eventCount, changedJobCount } = diff;
  const events = `${eventCount} ${eventCount === 1n ? 'event' : 'events'}`;
  const of = `${changedJobCount} of ${after.jobCounts?.total ?? 0} jobs changed`;
  return terminal.print(
    [
      `run ${runId} from event ${before.seq} to event ${after.seq}: ${events}, ${of}`,
      diffTable(before, after, jobs, terminal.colors),
    ].join('\n'),
  );
}

function diffTable(before: Run, after: Run, jobs: readonly JobChange[], colors: Colors): string {
  return table(
    ['JOB', 'BEFORE', 'AFTER'],
    [
      ['(the run)', runCell(before, colors), runCell(after, colors)],
      ...jobs.map((change) => [change.job, jobCell(change.before, colors), afterCell(change, colors)]),
    ],
  );
}

function runCell(run: Run, colors: Colors): Cell {
  const state = runState(run);
  return { text: `${state}: ${countsText(run)}`, paint: stateCell(state, colors).paint };
}

function jobCell(point: JobPoint | undefined, colors: Colors): Cell {
  if (point === undefined) return '-';
  const state = enumName(JobState, point.state);
  return { text: [state, ...detailsOf(point)].join(', '), paint: stateCell(state, colors).paint };
}

/** Of a job that stands where it stood, also what else of it changed. */
function afterCell({ before, after, changedFields }: JobChange, colors: Colors): Cell {
  const cell = jobCell(after, colors);
  const was = jobCell(before, colors);
  if (changedFields.length === 0 || typeof cell === 'string' || typeof was === 'string' || cell.text !== was.text)
    return cell;
  return { ...cell, text: `${cell.text}, changed: ${changedFields.join(', ').replaceAll('_', ' ')}` };
}

/** What there is to say besides the state. */
function detailsOf({ attempt, wait, hold, stop, failure }: JobPoint): string[] {
  return [
    attempt === 0 ? '' : `attempt ${attempt}`,
    wait === undefined || wait.reason === WaitReason.HELD ? '' : waitText(wait),
    hold === undefined ? '' : `held${askedBy(hold)}`,
    stop === undefined ? '' : stopText(stop),
    failureText(failure),
  ].filter((detail) => detail !== '');
}
