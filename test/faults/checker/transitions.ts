// 2. Runs, jobs and attempts move along their graphs and never leave a terminal state; and the rows are what the events come to.
import {
  ATTEMPT_GRAPH,
  type AttemptState,
  JOB_GRAPH,
  type JobState,
  RUN_GRAPH,
  type RunState,
} from '../../../packages/server/src/core/states.ts';
import { checkLedger } from '../../../packages/server/src/store/testing/check-ledger.ts';
import type { Evidence, EventRow, RunRow } from './evidence.ts';

export async function transitions({ rows, database }: Evidence): Promise<string[]> {
  const found = [...rows.runs.values()].flatMap((run) => wrongMoves(run, rows.events.get(run.run_id) ?? []));
  await checkLedger(database).catch((error: unknown) => {
    found.push(error instanceof Error ? error.message : String(error));
  });
  return found;
}

function wrongMoves({ run_id: runId, definition }: RunRow, events: readonly EventRow[]): string[] {
  const wrong: string[] = [];
  let run: RunState | undefined;
  // A run begins with what nothing is needed for in the queue; what shares something says first what that is.
  const jobs = new Map<number, JobState>(
    definition.jobs.map(({ needs, concurrency, rateLimits }, index) => [
      index,
      needs.length === 0 && concurrency === undefined && rateLimits === undefined ? 'QUEUED' : 'BLOCKED',
    ]),
  );
  const attempts = new Map<string, AttemptState>();

  function move<State extends string>(
    what: string,
    graph: Readonly<Record<State, readonly State[]>>,
    from: State | undefined,
    to: State,
  ): void {
    if (from === undefined || from === to || graph[from].includes(to)) return;
    wrong.push(`${what} of run ${runId} went from ${from} to ${to}`);
  }

  for (const { seq, type, run_state: runState, job, job_state: jobState, data } of events) {
    move('the state', RUN_GRAPH, run, runState as RunState);
    run = runState as RunState;
    if (type === 'RunCreated') {
      const inherited = (data['inherited'] ?? []) as readonly { readonly job: number; readonly state: JobState }[];
      for (const one of inherited) jobs.set(one.job, one.state);
    }
    if (job === null) continue;
    const before = jobs.get(job) ?? 'QUEUED';
    if (JOB_GRAPH[before].length === 0)
      wrong.push(`event ${seq} of run ${runId} is about job ${job}, which was ${before}`);
    move(`job ${job}`, JOB_GRAPH, before, jobState as JobState);
    jobs.set(job, jobState as JobState);
    const attempt = `${job}.${String(data['attempt'])}`;
    const to = attemptState(type, data);
    if (to === undefined) continue;
    move(`attempt ${attempt}`, ATTEMPT_GRAPH, attempts.get(attempt), to);
    if (to !== 'OFFERED' && attempts.get(attempt) === to)
      wrong.push(`attempt ${attempt} of run ${runId} became ${to} twice`);
    attempts.set(attempt, to);
  }
  return wrong;
}

function attemptState(type: string, data: EventRow['data']): AttemptState | undefined {
  if (type === 'AttemptOffered') return 'OFFERED';
  if (type === 'AttemptStarted') return 'RUNNING';
  return type === 'AttemptEnded' ? (data['state'] as AttemptState) : undefined;
}
