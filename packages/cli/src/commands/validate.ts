// `conveyor validate`: everything that is wrong with pipelines as files, by line and column, without storing them.
import type { JsonObject } from '@bufbuild/protobuf';
import type { Command } from 'commander';
import { type Cli, type OutputOptions, filesOption, outputOption, prettyJson } from '../cli.ts';
import { exitCodes } from '../failure.ts';
import { type FileProblem, problemText } from '../file-problem.ts';
import { allProblems, offlineProblems, refusedFields } from '../findings.ts';
import { type NamedPipelineFile, inspectPipelineFiles } from '../read-files.ts';
import { fileWarnings } from '../warnings.ts';

export function addValidate(program: Command, cli: Cli): void {
  program
    .command('validate')
    .summary('tell what is wrong with pipelines')
    .description(
      'Checks pipelines as `conveyor apply` would and stores nothing. Exits 2 when something is wrong, which it tells by line and column.',
    )
    .addOption(filesOption())
    .option('--offline', 'check the files by themselves, without a server')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  conveyor validate -f ci.yaml -f pipelines/')
    .action((options: ValidateOptions) => validate(cli, options));
}

interface ValidateOptions extends OutputOptions {
  readonly file: readonly string[];
  readonly offline?: true;
}

/** Something to tell about a file. */
interface Finding extends FileProblem {
  readonly severity: 'error' | 'warning';
}

interface Checked {
  readonly findings: readonly Finding[];
  /** What there is to say when nothing is wrong. */
  readonly verdict: string;
}

async function validate(cli: Cli, { file, offline, output }: ValidateOptions): Promise<void> {
  const inspected = await inspectPipelineFiles(cli, file);
  const findings: Finding[] = [];
  const tell = async ({ findings: found, verdict }: Checked) => {
    findings.push(...found);
    if (output === 'json') return;
    for (const finding of found) {
      if (finding.severity === 'warning') cli.terminal.note(`warning: ${problemText(finding)}`);
      else await cli.terminal.print(problemText(finding));
    }
    if (!found.some(({ severity }) => severity === 'error')) await cli.terminal.print(verdict);
  };
  try {
    // What the files get wrong by themselves first: that is known also when the server cannot be reached.
    const wrong = inspected.filter((one) => one.problems !== undefined);
    const { problems, unasked } = offline ? offlineProblems(wrong) : await allProblems(cli, wrong);
    if (wrong.length > 0) await tell(failed(problems));
    if (unasked !== undefined) cli.terminal.note(`note: ${unasked}`);
    const right = inspected.flatMap(({ pipeline }) => pipeline ?? []);
    for (const pipeline of right) {
      await tell(offline ? wellFormed(pipeline) : await checkByServer(cli, pipeline, right));
    }
  } finally {
    // What was found is told, too, when the server goes away before everything is checked.
    if (output === 'json') await cli.terminal.print(prettyJson(findings.map(findingJson)));
  }
  if (findings.some(({ severity }) => severity === 'error')) cli.exitWith(exitCodes.usage);
}

function wellFormed(file: NamedPipelineFile): Checked {
  return { findings: [], verdict: `${file.locate('').file}: pipeline ${file.name} is well-formed` };
}

async function checkByServer(
  { client }: Cli,
  file: NamedPipelineFile,
  beside: readonly NamedPipelineFile[],
): Promise<Checked> {
  const { name, definition } = file;
  try {
    const { newest, changed, warningDetails } = await client().pipelines.validate({ name, definition });
    const news = changed
      ? `would be ${newest === undefined ? 'new' : `revision ${newest.revision + 1}`}`
      : `is unchanged at revision ${newest?.revision}`;
    return {
      findings: fileWarnings(file, warningDetails, beside).map((warning) => ({ ...warning, severity: 'warning' })),
      verdict: `${file.locate('').file}: pipeline ${name} is valid and ${news}`,
    };
  } catch (thrown) {
    const problems = refusedFields(file, thrown);
    if (problems.length === 0) throw thrown;
    return failed(problems);
  }
}

function failed(problems: readonly FileProblem[]): Checked {
  return { findings: problems.map((problem) => ({ ...problem, severity: 'error' })), verdict: '' };
}

function findingJson({ severity, file, line, column, path, message }: Finding): JsonObject {
  return { severity, file, line, column, path, message };
}
