// How runs, jobs and attempts may move, written down a second time on purpose: what holds decisions against it must not read their graphs.
const RUN_MOVES = `
  PENDING    -> RUNNING CANCELLING
  RUNNING    -> CANCELLING SUCCEEDED FAILED
  CANCELLING -> CANCELLED`;

const JOB_MOVES = `
  BLOCKED    -> WAITING QUEUED FAILED SKIPPED CANCELLED
  WAITING    -> QUEUED SUCCEEDED FAILED SKIPPED CANCELLED
  QUEUED     -> WAITING OFFERED FAILED CANCELLED
  OFFERED    -> RUNNING QUEUED WAITING CANCELLING
  RUNNING    -> SUCCEEDED FAILED QUEUED WAITING CANCELLING
  CANCELLING -> CANCELLED SUCCEEDED FAILED`;

const ATTEMPT_MOVES = `
  OFFERED -> RUNNING REJECTED EXPIRED CANCELLED LOST
  RUNNING -> SUCCEEDED FAILED CANCELLED TIMED_OUT LOST`;

/** The moves of a graph as `FROM TO`. */
export function movesOf(graph: string): ReadonlySet<string> {
  const lines = graph.trim().split('\n');
  return new Set(
    lines.flatMap((line) => {
      const [from = '', to = ''] = line.split('->');
      return to
        .trim()
        .split(' ')
        .map((state) => `${from.trim()} ${state}`);
    }),
  );
}

export const runMoves = movesOf(RUN_MOVES);
export const jobMoves = movesOf(JOB_MOVES);
export const attemptMoves = movesOf(ATTEMPT_MOVES);
