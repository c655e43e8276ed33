// The sessions of this replica, by the number of their instance. Keeps each in step with the ledger: what a commit did to its
// attempts it hears at once, and every few seconds the ledger is compared with what the session believes, so that whatever was
// lost on the way heals.
import type { RunEvent } from '../core/events.ts';
import { type AttemptKey, formatAttemptId } from '../core/ids.ts';
import { liveOf } from '../core/run-state.ts';
import { attemptStates, liveAttempts } from '../store/attempt-rows.ts';
import { drainingInstances } from '../store/instance-rows.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import type { Log } from './log.ts';
import { repeat } from './repeat.ts';
import type { RunWork } from './run-work.ts';
import { SUPERSEDED, type Session } from './session.ts';

const COMPARE_MS = 5_000;
const EXPIRE_MS = 250;

export interface Sessions {
  /** Adds a session; an older one of the same instance ends. */
  add(session: Session): void;
  remove(session: Session): void;
  all(): Iterable<Session>;
  count(): number;
  /** The driver names that sessions here serve. */
  drivers(): Iterable<string>;
  /** Sessions that serve a driver name. */
  of(driver: string): readonly Session[];
  /** Tells the sessions what a commit did to their attempts. Returns the instances concerned that are not here. */
  onCommitted(work: RunWork): readonly number[];
  /** Compares these instances, or all, with the ledger now. */
  compare(instances?: ReadonlySet<number>): Promise<void>;
  /** Withdraws what is overdue, and compares, until the abort. */
  run(signal: AbortSignal): Promise<void>;
}

export function createSessions(pool: Pool, log: Log): Sessions {
  const byInstance = new Map<number, Session>();
  const byDriver = new Map<string, Set<Session>>();

  const sessions: Sessions = {
    add(session) {
      const { instance, epoch } = session.facts.writer;
      const other = byInstance.get(instance);
      if (other !== undefined && other.facts.writer.epoch > epoch) return session.end(SUPERSEDED);
      other?.end(SUPERSEDED);
      byInstance.set(instance, session);
      const peers = byDriver.get(session.facts.driver) ?? new Set();
      byDriver.set(session.facts.driver, peers.add(session));
    },
    remove(session) {
      const { driver, writer } = session.facts;
      if (byInstance.get(writer.instance) === session) byInstance.delete(writer.instance);
      const peers = byDriver.get(driver);
      peers?.delete(session);
      if (peers?.size === 0) byDriver.delete(driver);
    },
    all: () => byInstance.values(),
    count: () => byInstance.size,
    drivers: () => byDriver.keys(),
    of: (driver) => [...(byDriver.get(driver) ?? [])],
    onCommitted(work) {
      const elsewhere: number[] = [];
      for (const { event } of work.events) {
        const instance = holderOf(work, event);
        if (instance === undefined) continue;
        const session = byInstance.get(instance);
        if (session === undefined) elsewhere.push(instance);
        else tell(session, work, event);
      }
      return elsewhere;
    },
    async compare(instances) {
      const compared = [...byInstance.values()].filter(
        ({ facts }) => instances === undefined || instances.has(facts.writer.instance),
      );
      if (compared.length > 0) await compareAll(compared);
    },
    async run(signal) {
      await Promise.all([
        repeat(signal, EXPIRE_MS, async () => {
          for (const session of byInstance.values()) session.expire();
        }),
        repeat(signal, COMPARE_MS, () => sessions.compare(), log),
      ]);
    },
  };
  return sessions;

  async function compareAll(compared: readonly Session[]): Promise<void> {
    const beganMs = performance.now();
    const numbers = compared.map(({ facts }) => facts.writer.instance);
    const [live, draining] = await withConnection(pool, async (tx) => [
      await liveAttempts(tx, numbers),
      await drainingInstances(tx, numbers),
    ]);
    const rows = new Map(live.map((row) => [formatAttemptId(row.key), row]));
    const gone: { readonly session: Session; readonly key: AttemptKey }[] = [];
    for (const session of compared) {
      session.drain(draining.has(session.facts.writer.instance));
      for (const { key, phase, sinceMs } of session.holds()) {
        // What is younger than the comparison, or being answered, may be newer than what was read.
        if (phase === 'ASKED' || sinceMs >= beganMs) continue;
        const row = rows.get(formatAttemptId(key));
        if (row === undefined) gone.push({ session, key });
        else if (row.stop !== undefined) session.stop(key, row.stop.phase, row.stop.reason);
      }
    }
    if (gone.length > 0) await revokeAll(gone);
  }

  /** Tells what became of attempts that are in nobody's hand any more. */
  async function revokeAll(gone: readonly { readonly session: Session; readonly key: AttemptKey }[]): Promise<void> {
    const ended = await withConnection(pool, (tx) =>
      attemptStates(
        tx,
        gone.map(({ key }) => key),
      ),
    );
    const states = new Map(ended.map((row) => [formatAttemptId(row.key), row.state]));
    for (const { session, key } of gone) session.revoke(key, states.get(formatAttemptId(key)), 'it ended without you');
  }
}

/** The instance that held the attempt before the flush, when the event concerns it. */
function holderOf(work: RunWork, event: RunEvent): number | undefined {
  switch (event.type) {
    case 'JobCancelRequested':
    case 'JobKillRequested':
    case 'AttemptTimedOut':
    case 'AttemptEnded': {
      const job = work.loaded.get(event.job);
      return job === undefined ? undefined : liveOf(job)?.instance;
    }
    case 'RunCreated':
    case 'RunCancelRequested':
    case 'RunFinished':
    case 'JobQueued':
    case 'JobWaiting':
    case 'JobFinished':
    case 'AttemptOffered':
    case 'AttemptStarted':
    case 'AttemptAdopted':
    case 'AttemptAnnotated':
    case 'AttemptArtifact':
    case 'AttemptHeard':
    case 'RunPaused':
    case 'RunResumed':
    case 'JobHeld':
    case 'JobReleased':
    case 'JobEvaluated':
    case 'JobsAdded':
    case 'JobsAppended':
    case 'GateAnswered':
    case 'ChildRunStarted':
      return undefined;
  }
}

function tell(session: Session, work: RunWork, event: RunEvent): void {
  if (!('job' in event)) return;
  const record = work.loaded.get(event.job);
  if (record === undefined) return;
  const key = { runId: work.context.runId, job: event.job, attempt: record.attempt };
  if (event.type === 'AttemptEnded') return session.revoke(key, event.state, 'it ended without you');
  const now = work.jobs.get(event.job);
  const stop = now === undefined ? undefined : liveOf(now)?.stop;
  if (stop !== undefined) session.stop(key, stop.phase, stop.reason);
}
