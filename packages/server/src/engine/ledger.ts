// The one way to change state: commands of whoever go into the next flush, are decided on under the locks of their runs, and are
// answered after the commit. A run that somebody else holds is tried again, and after three misses waited for alone.
import type { Command } from '../core/commands.ts';
import type { RunId } from '../core/ids.ts';
import { RefusedError } from '../core/refusal.ts';
import { LIMITS } from '../core/limits.ts';
import type { Lane } from '../store/lane.ts';
import { inTransaction } from '../store/transaction.ts';
import { type FlushOptions, type FlushOutcome, flushSubmissions, keepCommitted } from './flush.ts';
import { createGroupCommit } from './group-commit.ts';
import type { Answer, RunWork, Submission, Writer } from './run-work.ts';

const MAX_FLUSH = 1_000;
const MISSES_BEFORE_WAITING = 3;

export interface Ledger extends AsyncDisposable {
  /**
   * Decides on a command and resolves once that is committed.
   * @throws RefusedError DATABASE_UNAVAILABLE when too many commands wait, and at a stop.
   */
  submit(runId: RunId, command: Command, options?: SubmitOptions): Promise<Answer>;
}

export interface SubmitOptions {
  readonly writer?: Writer;
  readonly project?: string;
}

export interface LedgerOptions {
  readonly lane: Lane;
  readonly flushing: FlushOptions;
  /** Hears of every run that a flush changed, after its commit and before its answers. */
  readonly onCommitted: (works: readonly RunWork[]) => void;
}

export function createLedger({ lane, flushing, onCommitted }: LedgerOptions): Ledger {
  async function flush(items: readonly Submission[]): Promise<readonly Submission[]> {
    const waiting = items.filter((item) => item.misses >= MISSES_BEFORE_WAITING);
    const quick = items.filter((item) => item.misses < MISSES_BEFORE_WAITING);
    const missed: Submission[] = [];
    if (quick.length > 0) missed.push(...(await commit(quick, false)));
    for (const alone of Map.groupBy(waiting, (item) => item.runId).values())
      missed.push(...(await commit(alone, true)));
    return missed;
  }

  async function commit(items: readonly Submission[], wait: boolean): Promise<readonly Submission[]> {
    const outcome = await inTransaction(lane, (tx, begun) => flushSubmissions(tx, begun, items, flushing, wait));
    keepCommitted(outcome, flushing.cache);
    onCommitted(outcome.works.filter((work) => work.events.length > 0));
    answerAll(outcome);
    for (const item of outcome.missed) item.misses++;
    return outcome.missed;
  }

  const group = createGroupCommit<Submission>({
    maxItems: MAX_FLUSH,
    flush,
    fail: (item, error) => item.fail(error),
  });

  return {
    submit(runId, command, { writer, project } = {}) {
      if (group.waiting() >= LIMITS.pendingCommands) return Promise.reject(overloaded());
      return new Promise((answer, fail) => {
        group.add({ runId, project, command, writer, misses: 0, answer, fail });
      });
    },
    [Symbol.asyncDispose]: () => group[Symbol.asyncDispose](),
  };
}

/** Answers the submissions of a committed flush. */
export function answerAll({ works, refused }: FlushOutcome): void {
  for (const [item, answer] of refused) item.answer(answer);
  for (const work of works) {
    for (const item of work.submissions) {
      const answer = work.answers.get(item);
      if (answer !== undefined) item.answer(answer);
      else item.fail(work.failures.get(item));
    }
  }
}

export function overloaded(): RefusedError {
  const message = `${LIMITS.pendingCommands} commands wait for the database already: try again later`;
  return new RefusedError({ refused: 'DATABASE_UNAVAILABLE', message });
}
