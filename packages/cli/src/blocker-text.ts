// Owns what is said of jobs that do not start: what keeps each from it, a line for each piece.
import {
  type Blocker,
  ConveyorError,
  type ExplainJobResponse,
  type Job,
  JobStanding,
  JobState,
} from '@conveyor/client';
import type { Cli } from './cli.ts';
import { jobTargets } from './job-targets.ts';
import { printable } from './text.ts';

/** Jobs of a run that are explained with it. */
const mostExplained = 5;

/** What a job waits for, and what may come after that; empty when it waits for nothing. */
export async function blockerSection(cli: Cli, { standing, blockers, caveats }: ExplainJobResponse): Promise<string> {
  const title = standing === JobStanding.BEGUN ? 'Waits for' : 'Blocked by';
  return [
    ...listOf(title, await Promise.all(blockers.map((blocker) => blockerText(cli, blocker)))),
    ...listOf(
      'And then',
      caveats.map(({ message }) => message),
    ),
  ].join('\n');
}

/** Why a job does not start; undefined of one that has started, and from a server that does not tell. */
export async function explainOpen(
  { client }: Pick<Cli, 'client'>,
  { jobId, state }: Job,
): Promise<ExplainJobResponse | undefined> {
  if (!isToStart(state)) return undefined;
  try {
    return await client().jobs.explain(jobId);
  } catch (error) {
    // An older server has no such method.
    if (error instanceof ConveyorError && error.code === 'unimplemented') return undefined;
    throw error;
  }
}

/** Why the first jobs of a run that are ready do not start, a line for each. */
export async function waitingSection(cli: Cli, jobs: readonly Job[]): Promise<string> {
  return listOf('Why jobs wait', await waitingLines(cli, jobs)).join('\n');
}

/** As waitingSection, without its title. */
export async function waitingLines(cli: Pick<Cli, 'client'>, jobs: readonly Job[]): Promise<readonly string[]> {
  const ready = jobs.filter(({ state }) => isToStart(state) && state !== JobState.BLOCKED);
  const told = await Promise.all(
    ready.slice(0, mostExplained).map(async (job) => {
      const { blockers = [], message = '' } = (await explainOpen(cli, job)) ?? {};
      const texts = await Promise.all(blockers.map((blocker) => blockerText(cli, blocker)));
      const why = texts.length === 0 ? message : texts.join('; ');
      return why === '' ? [] : [`${job.name}: ${why}`];
    }),
  );
  const lines = told.flat();
  if (lines.length > 0 && ready.length > mostExplained) lines.push(`and ${ready.length - mostExplained} more jobs`);
  return lines;
}

/** What the server says, with the names of those that hold places of a group instead of their ids. */
async function blockerText(cli: Pick<Cli, 'client'>, { message, kind }: Blocker): Promise<string> {
  if (kind.case !== 'group') return message;
  const targets = await jobTargets(cli, kind.value.holderJobIds);
  return message.replaceAll(/[0-9a-f-]{36}\.\d+/g, (jobId) => targets.get(jobId) ?? jobId);
}

function isToStart(state: JobState): boolean {
  return [JobState.BLOCKED, JobState.WAITING, JobState.QUEUED, JobState.OFFERED].includes(state);
}

function listOf(title: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : [`${title}:`, ...lines.map((line) => `  ${printable(line)}`)];
}
