// `conveyor explain`: why a job does not start.
import { JobStanding, JobState } from '@conveyor/client';
import { ExplainJobResponseSchema } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import type { Command } from 'commander';
import { type Cli, findJobId, jsonOf, type OutputOptions, outputOption, prettyJson } from '../cli.ts';
import { blockerSection } from '../blocker-text.ts';
import { enumName, fields, printable, shellWord, stateCell, time } from '../text.ts';

export function addExplain(program: Command, cli: Cli): void {
  program
    .command('explain')
    .summary('tell why a job does not start')
    .description('Tells everything that keeps something from starting now.')
    .command('job')
    .description('Tells everything that keeps a job from starting now: once all of that has ended, it starts.')
    .argument('<job|run/job>', 'id of the job; or id of the run, and the name of the job')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor explain job RUN/deploy')
    .action((target: string, options: OutputOptions) => explainJob(cli, target, options));
}

async function explainJob(cli: Cli, target: string, { output }: OutputOptions): Promise<void> {
  const { client, terminal } = cli;
  const explanation = await client().jobs.explain(await findJobId(client(), target));
  if (output === 'json') return terminal.print(prettyJson(jsonOf(ExplainJobResponseSchema, explanation)));
  const { jobId, state, message, seq } = explanation;
  const about = fields([
    ['Id', jobId],
    ['State', stateCell(enumName(JobState, state), terminal.colors)],
    ['Start', message],
    ['As of', `${time(explanation.time)}, event ${seq}`],
  ]);
  await terminal.print(
    [about, await blockerSection(cli, explanation)].filter((section) => section !== '').join('\n\n'),
  );
  if (explanation.standing !== JobStanding.FINISHED) return;
  const { runId, name } = await client().jobs.get(jobId);
  terminal.note(`next: conveyor describe job ${shellWord(printable(`${runId}/${name}`))}`);
}
