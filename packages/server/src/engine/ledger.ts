// The one way to change state: commands of whoever go into the next flush, are decided on under the locks of their runs, and are
// answered after the commit. A run that somebody else holds is tried again, and after three misses waited for alone, on a lane of
// its own, so that whoever holds it for long holds up nobody else; decisions that take long are made there, too, and projects have their
// turns. Commands for one run are decided on in the order in which they were submitted, wherever they wait; those of a session also fail in
// order.
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
/** How often a command waits for its run: a decision of another replica may take longer than a lock is waited for. */
const MAX_WAITS = 2;

/** A run that is waited for. */
interface Waited {
  readonly isCostly: boolean;
  readonly project: string;
  readonly commands: Set<Submission>;
}

/** What is not decided on yet, and the projects of its runs. */
type PutOff = Pick<FlushOutcome, 'projects'> & { readonly items: readonly Submission[] };

const NOTHING: PutOff = { items: [], projects: new Map() };

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
  const waitedFor = new Map<RunId, Waited>();
  const orders = createBrokenOrders();
  /** The projects of the runs of which commands went back among those that wait for a flush: of the others they are not known. */
  const projectOf = new Map<RunId, string>();
  const newlyPutBack = new Map<RunId, string>();

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
  ): Promise<PutOff> {
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
    const putOff = [...outcome.missed, ...outcome.left, ...outcome.costly];
    return { items: putOff.toSorted((a, b) => a.number - b.number), projects: outcome.projects };
  }

  const group = createGroupCommit<Submission>({
    maxItems: MAX_FLUSH,
    ownerOf: ({ runId }) => projectOf.get(runId) ?? '',
    async flush(items, signal) {
      // While others wait, all commands for one run have to have the same owner.
      if (group.waiting() === 0) projectOf.clear();
      const { behind = [], open = [] } = Object.groupBy(inOrder(items), ({ runId }) =>
        waitedFor.has(runId) ? 'behind' : 'open',
      );
      const { items: putOff, projects } = open.length === 0 ? NOTHING : await commit(lane, open, false, signal);
      behind.forEach((item) => waitFor(item));
      const again: Submission[] = [];
      for (const item of putOff) {
        const project = projects.get(item.runId) ?? '';
        if (waitedFor.has(item.runId) || item.misses >= MISSES_BEFORE_WAITING) {
          waitFor(item, project);
        } else {
          newlyPutBack.set(item.runId, project);
          again.push(item);
        }
      }
      return again;
    },
    onPutBack() {
      for (const [runId, project] of newlyPutBack) projectOf.set(runId, project);
      newlyPutBack.clear();
    },
    fail,
  });

  /** Whether the last turn on the patient lane was that of a decision that takes long. */
  let wasCostly = false;
  /** The run that the last turn waited for in vain: others come before it. */
  let missed: RunId | undefined;
  const isCostly = ({ runId }: Submission): boolean => waitedFor.get(runId)?.isCostly === true;

  /** Runs whose decisions take long and those that somebody held take turns. */
  function nextOf(items: readonly Submission[]): Submission | undefined {
    const others = items.filter(({ runId }) => runId !== missed);
    return others.find((item) => isCostly(item) !== wasCostly) ?? others[0] ?? items[0];
  }

  const patient = createGroupCommit<Submission>({
    maxItems: MAX_FLUSH,
    ownerOf: (item) => `${isCostly(item)} ${waitedFor.get(item.runId)?.project}`,
    /** Commits what is asked of one run. */
    async flush(all, signal) {
      const items = inOrder(all);
      const first = nextOf(items);
      if (first === undefined) return [];
      wasCostly = isCostly(first);
      missed = undefined;
      const alone = items.filter(({ runId }) => runId === first.runId);
      const others = items.filter(({ runId }) => runId !== first.runId);
      try {
        return [...others, ...(await commit(patientLane, alone, true, signal)).items];
      } catch (error) {
        if (!isTooSlow(error)) throw error;
        missed = first.runId;
        for (const item of alone) if (++item.misses === MAX_WAITS) fail(item, databaseUnavailable(TOO_SLOW));
        return [...others, ...alone.filter(({ misses }) => misses < MAX_WAITS)];
      }
    },
    fail,
  });

  /** Has a command wait for its run, and with it whatever is asked of the run until it has its answer: that would overtake it. */
  function waitFor(item: Submission, project = ''): void {
    const { runId } = item;
    const waited = waitedFor.get(runId) ?? { isCostly: item.isCostly, project, commands: new Set() };
    waitedFor.set(runId, waited);
    waited.commands.add(item);
    const leave = (): void => {
      waited.commands.delete(item);
      if (waited.commands.size === 0 && waitedFor.get(runId) === waited) waitedFor.delete(runId);
    };
    patient.add({
      ...item,
      misses: 0,
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
