// The one way to change state: commands of whoever go into the next flush, are decided on under the locks of their runs, and are
// answered after the commit. A run that somebody else holds is tried again, and after three misses waited for alone, on a lane of
// its own, so that whoever holds it for long holds up nobody else; decisions that take long are made there, too. Commands for one run
// are decided on in the order in which they were submitted, wherever they wait.
import type { Command } from '../core/commands.ts';
import type { RunId } from '../core/ids.ts';
import { databaseUnavailable, overloaded, TOO_SLOW } from '../core/refusal.ts';
import { LIMITS } from '../core/limits.ts';
import type { Lane } from '../store/lane.ts';
import { isTooSlow } from '../store/outage.ts';
import { inTransaction } from '../store/transaction.ts';
import { type FlushOptions, type FlushOutcome, flushSubmissions, keepCommitted } from './flush.ts';
import { createGroupCommit } from './group-commit.ts';
import { CostlyDecision } from './pace.ts';
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
  /** For runs that are waited for. */
  readonly patientLane: Lane;
  readonly flushing: FlushOptions;
  /** Hears of every run that a flush changed, after its commit and before its answers. */
  readonly onCommitted: (works: readonly RunWork[]) => void;
}

export function createLedger({ lane, patientLane, flushing, onCommitted }: LedgerOptions): Ledger {
  /** Runs that are waited for, with how many commands. */
  const waitedFor = new Map<RunId, number>();

  async function commit(
    on: Lane,
    items: readonly Submission[],
    isPatient: boolean,
    signal: AbortSignal,
  ): Promise<readonly Submission[]> {
    const outcome = await inTransaction(
      on,
      (tx, begun) => flushSubmissions(tx, begun, items, flushing, isPatient),
      signal,
    );
    keepCommitted(outcome, flushing.cache);
    onCommitted(outcome.works.filter((work) => work.events.length > 0));
    answerAll(outcome);
    for (const item of outcome.missed) item.misses++;
    outcome.costly.forEach(hasToWait);
    return [...outcome.missed, ...outcome.costly];
  }

  /** Commits what does not take long. Returns what is to be tried again or waited for. */
  async function commitQuickly(items: readonly Submission[], signal: AbortSignal): Promise<readonly Submission[]> {
    try {
      return await commit(lane, items, false, signal);
    } catch (error) {
      if (!(error instanceof CostlyDecision)) throw error;
      const claiming = new Set(items.filter(({ command }) => command.type === 'ClaimPlace').map(({ runId }) => runId));
      for (const item of items) if (claiming.has(item.runId)) hasToWait(item);
      return items;
    }
  }

  const group = createGroupCommit<Submission>({
    maxItems: MAX_FLUSH,
    async flush(items, signal) {
      const { behind = [], open = [] } = Object.groupBy(items, ({ runId }) =>
        waitedFor.has(runId) ? 'behind' : 'open',
      );
      const missed = open.length === 0 ? [] : await commitQuickly(open, signal);
      behind.forEach(waitFor);
      const again: Submission[] = [];
      for (const item of missed) {
        if (waitedFor.has(item.runId) || item.misses >= MISSES_BEFORE_WAITING) waitFor(item);
        else again.push(item);
      }
      return again;
    },
    fail: (item, error) => item.fail(error),
  });

  const patient = createGroupCommit<Submission>({
    maxItems: MAX_FLUSH,
    /** Commits what is asked of one run, the first. */
    async flush(items, signal) {
      const [first] = items;
      const alone = items.filter(({ runId }) => runId === first?.runId);
      const others = items.filter(({ runId }) => runId !== first?.runId);
      try {
        return [...others, ...(await commit(patientLane, alone, true, signal))];
      } catch (error) {
        if (!isTooSlow(error)) throw error;
        for (const item of alone) item.fail(databaseUnavailable(TOO_SLOW));
        return others;
      }
    },
    fail: (item, error) => item.fail(error),
  });

  /** Has a command wait for its run, and with it whatever is asked of the run until it has its answer: that would overtake it. */
  function waitFor(item: Submission): void {
    const { runId } = item;
    waitedFor.set(runId, (waitedFor.get(runId) ?? 0) + 1);
    const leave = (): void => {
      const others = (waitedFor.get(runId) ?? 0) - 1;
      if (others > 0) waitedFor.set(runId, others);
      else waitedFor.delete(runId);
    };
    patient.add({
      ...item,
      answer(answer) {
        leave();
        item.answer(answer);
      },
      fail(error) {
        leave();
        item.fail(error);
      },
    });
  }

  return {
    submit(runId, command, { writer, project } = {}) {
      if (group.waiting() + patient.waiting() >= LIMITS.pendingCommands) {
        return Promise.reject(overloaded(`${LIMITS.pendingCommands} commands`));
      }
      return new Promise((answer, fail) => {
        group.add({ runId, project, command, writer, misses: 0, answer, fail });
      });
    },
    async [Symbol.asyncDispose]() {
      await group[Symbol.asyncDispose]();
      await patient[Symbol.asyncDispose]();
    },
  };
}

function hasToWait(item: Submission): void {
  item.misses = MISSES_BEFORE_WAITING;
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
