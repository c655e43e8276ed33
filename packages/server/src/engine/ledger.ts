// The one way to change state: commands of whoever go into the next flush, are decided on under the locks of their runs, and are
// answered after the commit. A run that somebody else holds is tried again, and after three misses waited for alone, on a lane of
// its own, so that whoever holds it for long holds up nobody else; decisions that take long are made there, too. Commands for one run
// are decided on in the order in which they were submitted, wherever they wait; those of a session also fail in order.
import type { Command } from '../core/commands.ts';
import type { RunId } from '../core/ids.ts';
import { databaseUnavailable, overloaded, RefusedError, TOO_SLOW } from '../core/refusal.ts';
import { LIMITS } from '../core/limits.ts';
import type { Lane } from '../store/lane.ts';
import { isTooSlow } from '../store/outage.ts';
import { inTransaction } from '../store/transaction.ts';
import { createBrokenOrders } from './broken-orders.ts';
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
  /** For runs that are waited for. */
  readonly patientLane: Lane;
  readonly flushing: FlushOptions;
  /** Hears of every run that a flush changed, after its commit and before its answers. */
  readonly onCommitted: (works: readonly RunWork[]) => void;
}

export function createLedger({ lane, patientLane, flushing, onCommitted }: LedgerOptions): Ledger {
  /** The commands that wait for their runs. */
  const waitedFor = new Map<RunId, Set<Submission>>();
  const orders = createBrokenOrders();

  /** Fails what is not decided on. */
  function fail(item: Submission, error: unknown): void {
    if (error instanceof RefusedError) orders.breakBy(item, error);
    item.fail(error);
  }

  /** Fails what came after something of the same session that failed. Returns the rest. */
  function inOrder(items: readonly Submission[]): readonly Submission[] {
    return items.filter((item) => {
      const broken = orders.whyBroken(item);
      if (broken !== undefined) item.fail(broken.error);
      return broken === undefined;
    });
  }

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
    for (const item of outcome.costly) {
      item.misses = MISSES_BEFORE_WAITING;
      item.isCostly = true;
    }
    return [...outcome.missed, ...outcome.left, ...outcome.costly];
  }

  const group = createGroupCommit<Submission>({
    maxItems: MAX_FLUSH,
    async flush(items, signal) {
      const { behind = [], open = [] } = Object.groupBy(inOrder(items), ({ runId }) =>
        waitedFor.has(runId) ? 'behind' : 'open',
      );
      const missed = open.length === 0 ? [] : await commit(lane, open, false, signal);
      behind.forEach(waitFor);
      const again: Submission[] = [];
      for (const item of missed) {
        if (waitedFor.has(item.runId) || item.misses >= MISSES_BEFORE_WAITING) waitFor(item);
        else again.push(item);
      }
      return again;
    },
    fail,
  });

  /** Whether the last turn on the patient lane was that of a decision that takes long. */
  let wasCostly = false;
  const patient = createGroupCommit<Submission>({
    maxItems: MAX_FLUSH,
    /** Commits what is asked of one run: runs whose decisions take long and those that somebody held take turns. */
    async flush(all, signal) {
      const items = inOrder(all);
      const costly = new Set(items.filter(({ isCostly }) => isCostly).map(({ runId }) => runId));
      const first = items.find(({ runId }) => costly.has(runId) !== wasCostly) ?? items[0];
      wasCostly = first !== undefined && costly.has(first.runId);
      if (first === undefined) return [];
      const alone = items.filter(({ runId }) => runId === first.runId);
      const others = items.filter(({ runId }) => runId !== first.runId);
      try {
        return [...others, ...(await commit(patientLane, alone, true, signal))];
      } catch (error) {
        if (!isTooSlow(error)) throw error;
        for (const item of alone) fail(item, databaseUnavailable(TOO_SLOW));
        return others;
      }
    },
    fail,
  });

  /** Has a command wait for its run, and with it whatever is asked of the run until it has its answer: that would overtake it. */
  function waitFor(item: Submission): void {
    const { runId } = item;
    const waiting = waitedFor.get(runId) ?? new Set();
    waitedFor.set(runId, waiting.add(item));
    const leave = (): void => {
      waiting.delete(item);
      if (waiting.size === 0 && waitedFor.get(runId) === waiting) waitedFor.delete(runId);
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
      return new Promise((answer, reject) => {
        group.add({
          number: orders.next(),
          runId,
          project,
          command,
          writer,
          misses: 0,
          isCostly: false,
          answer,
          fail: reject,
        });
      });
    },
    async [Symbol.asyncDispose]() {
      await group[Symbol.asyncDispose]();
      await patient[Symbol.asyncDispose]();
    },
  };
}

/** Answers the submissions of a committed flush. */
export function answerAll({ works, refused }: FlushOutcome): void {
  for (const [item, answer] of refused) item.answer(answer);
  for (const { submissions, decided, answers, failures } of works) {
    for (const item of submissions.slice(0, decided)) {
      const answer = answers.get(item);
      if (answer !== undefined) item.answer(answer);
      else item.fail(failures.get(item));
    }
  }
}
