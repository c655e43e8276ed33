// Owns reading pipelines and schedules from disk or standard input, never more of them than a bound, and telling where in the file the
// server found something wrong.
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ConveyorError } from '@conveyor/client';
import type { Cli } from './cli.ts';
import { UsageError } from './failure.ts';
import { byPlace, type FileProblem, problemsText } from './file-problem.ts';
import { allProblems, offlineProblems, type Problems, refusedFields, type WrongFile } from './findings.ts';
import { type MeantPipeline, type PipelineFile, readPipeline } from './pipeline-file.ts';
import { type ScheduleFile, readSchedule } from './schedule-file.ts';
import { tooLargeText } from './source-text.ts';
import { MAX_FILE_BYTES } from './yaml-tree.ts';

/** Reads a pipeline without a server; `-` is standard input. Throws UsageError. */
export async function readPipelineFile(cli: Cli, file: string): Promise<PipelineFile> {
  const [read] = await goodOnes([await inspect(cli, file)], async (wrong) => offlineProblems(wrong));
  return read;
}

/** Reads a pipeline to run; `-` is standard input. Throws UsageError with all that is wrong, whoever finds it. */
export async function readPipelineToRun(cli: Cli, file: string): Promise<PipelineFile> {
  const [read] = await goodOnes([await inspect(cli, file)], (wrong) => allProblems(cli, wrong));
  return read;
}

/** A pipeline that can be stored. */
export type NamedPipelineFile = PipelineFile & { readonly name: string };

/** Reads pipelines to store, as inspectPipelineFiles does. Throws UsageError with all that is wrong, whoever finds it, when one is. */
export async function readNamedPipelines(
  cli: Cli,
  paths: readonly string[],
): Promise<[NamedPipelineFile, ...NamedPipelineFile[]]> {
  return goodOnes(await inspectPipelineFiles(cli, paths), (wrong) => allProblems(cli, wrong));
}

/** A file, and the pipeline in it or what is wrong with it. */
export type Inspected<T> = { readonly file: string; readonly pipeline: T; readonly problems?: undefined } | WrongFile;

/**
 * Reads what should be pipelines to store: `-` is standard input, and of directories the YAML and JSON files in them are meant, by name.
 * Throws UsageError when something cannot be read at all.
 */
export async function inspectPipelineFiles(
  cli: Cli,
  paths: readonly string[],
): Promise<Inspected<NamedPipelineFile>[]> {
  const files = (await Promise.all(paths.map(filesOf))).flat();
  const inspected: Inspected<NamedPipelineFile>[] = [];
  const firstOf = new Map<string, string>();
  for (const path of files) {
    const { file, problems, meant } = await readForm(cli, path);
    const { name } = meant ?? {};
    const wrongName = meant && nameProblem(meant, name === undefined ? undefined : firstOf.get(name));
    if (name !== undefined && !firstOf.has(name)) firstOf.set(name, file);
    const all = wrongName === undefined ? problems : [...problems, wrongName].toSorted(byPlace);
    if (meant === undefined || name === undefined || all.length > 0) inspected.push({ file, problems: all, meant });
    else inspected.push({ file, pipeline: { ...meant, name } });
  }
  return inspected;
}

/** Reads a schedule; `-` is standard input. Throws UsageError with all that is wrong, whoever finds it. */
export async function readScheduleFile(cli: Cli, path: string): Promise<ScheduleFile> {
  const { source, name: file } = await readSource(cli, path);
  const read = readSchedule(source, file);
  const wrong: WrongFile =
    'spec' in read ? { file, problems: read.problems, meant: read } : { file, problems: read, meant: undefined };
  if ('spec' in read && read.problems.length === 0) return read;
  const { problems, unasked } = await allProblems(cli, [wrong]);
  throw new UsageError(
    [`${file} is no schedule`, problemsText(problems), ...(unasked === undefined ? [] : [unasked])].join('\n'),
  );
}

/** What the server refuses of a file, by line and column of its file. */
export async function withFilePlaces<T>(file: PipelineFile | ScheduleFile, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (thrown) {
    if (isOfParams(thrown)) throw thrown;
    const problems = refusedFields(file, thrown);
    if (problems.length === 0) throw thrown;
    throw new UsageError(
      `the server refuses the ${'spec' in file ? 'schedule' : 'pipeline'}\n${problemsText(problems)}`,
    );
  }
}

/** Whether only what was given beside a pipeline's file is refused: the params of a run. */
function isOfParams(thrown: unknown): boolean {
  const fields = thrown instanceof ConveyorError ? thrown.fieldViolations : [];
  return fields.length > 0 && fields.every(({ field }) => /^run\.params(?![a-z_])/.test(field));
}

/** What is wrong with the name of a pipeline, unless that was told already. @param first The file that has the same. */
function nameProblem(meant: MeantPipeline, first: string | undefined): FileProblem | undefined {
  const at = meant.locate('name');
  if (first !== undefined) return { ...at, message: `is also the name of the pipeline in ${first}` };
  if (meant.name !== undefined || meant.refusals.some(({ path }) => path === at.path)) return undefined;
  return { ...at, message: 'is required: add a line such as `name: ci` at the top' };
}

/** Pipelines of files of which none is wrong. */
async function goodOnes<T>(
  inspected: readonly Inspected<T>[],
  problemsOf: (wrong: readonly WrongFile[]) => Promise<Problems>,
): Promise<[T, ...T[]]> {
  const wrong = inspected.filter((one) => one.problems !== undefined);
  if (wrong.length > 0) {
    const title = wrong.length === 1 ? `${wrong[0]?.file} is no pipeline` : `${wrong.length} files are no pipelines`;
    const { problems, unasked } = await problemsOf(wrong);
    throw new UsageError([title, problemsText(problems), ...(unasked === undefined ? [] : [unasked])].join('\n'));
  }
  const [first, ...more] = inspected.flatMap(({ pipeline }) => (pipeline === undefined ? [] : [pipeline]));
  if (first === undefined) throw new Error('no file was inspected');
  return [first, ...more];
}

async function inspect(cli: Cli, path: string): Promise<Inspected<PipelineFile>> {
  const { file, problems, meant } = await readForm(cli, path);
  return meant === undefined || problems.length > 0 ? { file, problems, meant } : { file, pipeline: meant };
}

async function readForm(cli: Cli, path: string): Promise<WrongFile<MeantPipeline>> {
  const { source, name: file } = await readSource(cli, path);
  const read = readPipeline(source, file);
  return 'definition' in read
    ? { file, problems: read.problems, meant: read }
    : { file, problems: read, meant: undefined };
}

async function filesOf(path: string): Promise<string[]> {
  if (path === '-') return [path];
  try {
    if (!(await stat(path)).isDirectory()) return [path];
    const names = (await readdir(path)).filter((name) => /\.(ya?ml|json)$/.test(name)).toSorted();
    if (names.length > 0) return names.map((name) => join(path, name));
  } catch (thrown) {
    throw unreadable(path, thrown);
  }
  throw new UsageError(`${path} has no file that ends in .yaml, .yml or .json`);
}

async function readSource({ stdin }: Cli, file: string): Promise<{ source: Uint8Array; name: string }> {
  if (file === '-') return { source: await readBounded(stdin, '<stdin>'), name: '<stdin>' };
  try {
    await using handle = await open(file);
    const { size } = await handle.stat();
    if (size > MAX_FILE_BYTES) throw new UsageError(`${file} ${tooLargeText(size, MAX_FILE_BYTES)}`);
    return { source: await readBounded(handle.createReadStream({ autoClose: false }), file), name: file };
  } catch (thrown) {
    throw unreadable(file, thrown);
  }
}

/** A pipe or device says no size before it is read. */
async function readBounded(stream: AsyncIterable<string | Uint8Array>, name: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    size += bytes.length;
    if (size > MAX_FILE_BYTES) throw new UsageError(`${name} ${tooLargeText(undefined, MAX_FILE_BYTES)}`);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

function unreadable(path: string, thrown: unknown): UsageError {
  if (thrown instanceof UsageError) return thrown;
  return new UsageError(`cannot read ${path}: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
}
