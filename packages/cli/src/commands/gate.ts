// `conveyor gate`: approves or rejects a gate in the name of somebody. The server takes the word of whoever has an operator token for
// who that is, so nobody is guessed here: the user of this machine may be nobody to the platform.
import { type GateAnswerInput, JobState } from '@conveyor/client';
import { JobSchema } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import type { Command } from 'commander';
import { type Cli, findJobId, jsonOf, type OutputOptions, outputOption, prettyJson, repeatable } from '../cli.ts';
import { approvals } from '../gate-text.ts';
import { parseParams } from '../params.ts';
import { enumName, printable } from '../text.ts';

export function addGate(program: Command, cli: Cli): void {
  const gate = program
    .command('gate')
    .summary('approve or reject a gate')
    .description('Answers a gate that waits. Who answers again replaces the earlier answer.');
  addAnswer(gate, cli, 'approve', 'Approves a gate. It succeeds once as many people as its quorum did.')
    .addOption(repeatable('--answer <key=value>', 'what its form asks for; key:=JSON for one that is not text'))
    .addHelpText(
      'after',
      '\nExample:\n  conveyor gate approve RUN/ship --actor ada --group release --answer ticket=OPS-7',
    );
  addAnswer(gate, cli, 'reject', 'Rejects a gate, which fails it.').addHelpText(
    'after',
    "\nExample:\n  conveyor gate reject RUN/ship --actor ada --comment 'not on a Friday'",
  );
}

interface GateOptions extends OutputOptions {
  readonly actor: string;
  readonly group: readonly string[];
  readonly answer?: readonly string[];
  readonly comment: string;
}

function addAnswer(gate: Command, cli: Cli, verdict: GateAnswerInput['verdict'], description: string): Command {
  return gate
    .command(verdict)
    .description(description)
    .argument('<job|run/job>', 'id of the job; or id of the run, and the name of the job')
    .requiredOption('--actor <name>', 'who answers, as the platform calls them')
    .addOption(repeatable('--group <name>', 'a group that they belong to, as the gate may ask for'))
    .option('--comment <text>', 'why, for people to read', '')
    .addOption(outputOption())
    .action((target: string, options: GateOptions) => answer(cli, target, verdict, options));
}

async function answer(
  cli: Cli,
  target: string,
  verdict: GateAnswerInput['verdict'],
  options: GateOptions,
): Promise<void> {
  const { actor, group, answer: filledIn = [], comment, output } = options;
  const { jobs } = cli.client();
  const { jobId, definition, gateAnswers } = await jobs.get(await findJobId(cli.client(), target));
  const answers = parseParams(filledIn, definition?.gate?.formSchema, 'answer');
  const job = await jobs.answerGate(jobId, { verdict, actor, groups: group, answers, comment });
  if (output === 'json') return cli.terminal.print(prettyJson(jsonOf(JobSchema, job)));
  const isReplaced = gateAnswers.some((given) => given.actor === actor);
  const replaced = isReplaced ? `; this replaces what ${printable(actor)} answered before` : '';
  return cli.terminal.print(
    `gate ${target} is ${enumName(JobState, job.state)}, ${approvals(job, definition?.gate)} approved${replaced}`,
  );
}
