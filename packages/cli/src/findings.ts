// Owns what the server finds wrong with a file: by line and column, and beside what is wrong with the form of the file. What was most
// likely meant by that is what the server looks at, and what only follows from it is not told.
import { ConveyorError } from '@conveyor/client';
import type { Cli } from './cli.ts';
import { describeFailure, UsageError } from './failure.ts';
import { byPlace, type FileProblem, MAX_PROBLEMS } from './file-problem.ts';
import type { FilePlaces } from './message-file.ts';
import type { MeantPipeline } from './pipeline-file.ts';
import type { MeantSchedule } from './schedule-file.ts';
import type { Refusal } from './yaml-tree.ts';

/** A file whose form is wrong. */
export interface WrongFile<Meant = MeantPipeline | MeantSchedule> {
  readonly file: string;
  readonly pipeline?: undefined;
  readonly problems: readonly FileProblem[];
  /** Undefined when nothing of it can be read. */
  readonly meant: Meant | undefined;
}

/** What is wrong with files. */
export interface Problems {
  readonly problems: readonly FileProblem[];
  /** Why the server did not look for more, if it should have. */
  readonly unasked?: string;
}

/** What the files say by themselves. */
export function offlineProblems(wrong: readonly WrongFile[]): Problems {
  return { problems: wrong.flatMap(({ problems }) => problems) };
}

/** Everything that is wrong with files whose form is wrong: that, and what the server finds in what was most likely meant. */
export async function allProblems(cli: Cli, wrong: readonly WrongFile[]): Promise<Problems> {
  const all: FileProblem[] = [];
  let unasked: string | undefined;
  for (const { problems, meant } of wrong) {
    const canAsk = unasked === undefined && meant !== undefined && problems.length < MAX_PROBLEMS;
    const found = canAsk ? await askServer(cli, meant) : [];
    if (typeof found === 'string') {
      unasked = `the server did not look for more: ${found}`;
      all.push(...problems);
    } else {
      const news = newFindings(found, meant?.refusals ?? []);
      all.push(...[...problems, ...news].toSorted(byPlace).slice(0, MAX_PROBLEMS));
    }
  }
  return { problems: all, ...(unasked !== undefined && { unasked }) };
}

/** What the server finds in a pipeline or a schedule; a text says why it cannot be asked. */
async function askServer(cli: Cli, meant: MeantPipeline | MeantSchedule): Promise<FileProblem[] | string> {
  const { name = '' } = meant;
  try {
    if ('spec' in meant) await cli.client().schedules.validate({ name, spec: meant.spec });
    else await cli.client().pipelines.validate({ name, definition: meant.definition });
    return [];
  } catch (thrown) {
    if (!(thrown instanceof ConveyorError || thrown instanceof UsageError)) throw thrown;
    const found = refusedFields(meant, thrown);
    if (found.length === 0) return describeFailure(thrown, cli.address()).message;
    // That a file has no name is told by who needs one.
    return found.filter(({ path }) => path !== 'name' || meant.name !== undefined);
  }
}

/** The fields of a file that the server refused, as they stand in it, if that is what was thrown. */
export function refusedFields(file: FilePlaces, thrown: unknown): FileProblem[] {
  if (!(thrown instanceof ConveyorError)) return [];
  return thrown.fieldViolations.map((violation) => file.problemOf(violation)).toSorted(byPlace);
}

/**
 * A finding is told unless it is at or inside of a value that was refused, or may only follow from what was lost there: it misses a job,
 * where one was lost; it misses something, where its own job has a key that could be anything; it names what was lost.
 */
function newFindings(findings: readonly FileProblem[], refusals: readonly Refusal[]): readonly FileProblem[] {
  const values = refusals.filter(({ instead }) => instead !== 'field');
  const lost = refusals.filter(({ instead }) => instead !== 'guess' && instead !== 'field');
  return findings.filter(
    (finding) =>
      !values.some(({ path }) => isWithin(finding.path, path)) && !lost.some((refusal) => mayExplain(refusal, finding)),
  );
}

const MISSES_JOB = /^there is no job "(?!.* among the needs)/;
const MISSES_ANYTHING =
  /there is no |has no (?:field|value|output)|is required|must have (?!at most)|without|only jobs/;

/** Whether what a finding misses may be what was lost. */
function mayExplain({ path: lost, instead }: Refusal, { path, message }: FileProblem): boolean {
  if (MISSES_JOB.test(message)) return /^jobs(?:\[\d+\](?:\.name)?)?$/.test(lost);
  if (!MISSES_ANYTHING.test(message)) return false;
  const job = jobOf(lost);
  if (job !== undefined && job !== jobOf(path)) return false;
  if (instead === 'no field') return job !== undefined || jobOf(path) === undefined;
  // What the job is.
  if (/\.(?:gate|call)$/.test(lost)) return true;
  if (isWithin(lost, path)) return true;
  // A scalar leaves what it is a part of as it is.
  const names = instead === 'no scalar' ? stepsOf(lost).slice(-1) : stepsOf(lost);
  return names.some((name) => mentions(message, name));
}

/** Names of fields on a path. */
function stepsOf(path: string): readonly string[] {
  return path.split(/[.[\]"]+/).filter((step) => /^[a-zA-Z]/.test(step) && step !== 'jobs');
}

/** Whether a message has the name of a field as a word, also of one of several, and of a schema what it is of. */
function mentions(message: string, name: string): boolean {
  const singular = name.replace(/Schema$/, '').replace(/s$/, '');
  return new RegExp(`\\b${singular}`, 'i').test(message);
}

function jobOf(path: string): string | undefined {
  return /^jobs\[\d+\]/.exec(path)?.[0];
}

function isWithin(path: string, outer: string): boolean {
  return path === outer || path.startsWith(`${outer}.`) || path.startsWith(`${outer}[`);
}
