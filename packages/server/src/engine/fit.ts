// Which session takes which job: those whose spec schema accepts it, but not an instance that just sent it back three times in a
// row; of these the one with the most room. What nobody here can take is left in the queue.
import { formatJobId, type JobKey } from '../core/ids.ts';
import type { QueueRow } from '../store/queue-rows.ts';
import type { Tx } from '../store/sql.ts';
import type { Plans } from './plans.ts';
import { detailsOf, loadContexts } from './run-context.ts';
import type { Session } from './session.ts';

/** Offers of a job in a row that one instance may send back before it is passed over. */
const RETURNS_ALLOWED = 3;
const PASS_OVER_MS = 30_000;
/** Jobs remembered; the oldest are forgotten. */
const MAX_REMEMBERED = 10_000;

export interface Assignment {
  readonly session: Session;
  readonly key: JobKey;
}

export interface Fit {
  /** Assigns at most `limit` of the claimed rows. */
  assign(
    tx: Tx,
    sessions: readonly Session[],
    rows: readonly QueueRow[],
    limit: number,
  ): Promise<readonly Assignment[]>;
  /** How many rows at the head of a driver's queue may find nobody here. */
  passedOver(driver: string): number;
  /** An instance sent an offer back, or let it run out. */
  returned(session: Session, key: JobKey): void;
}

export function createFit(plans: Plans): Fit {
  const returns = new Map<string, { count: number; untilMs: number }>();
  const left = new Map<string, number>();

  const returnKey = (session: Session, key: JobKey): string => `${session.facts.writer.instance} ${formatJobId(key)}`;

  function isPassedOver(session: Session, key: JobKey): boolean {
    const known = returns.get(returnKey(session, key));
    return known !== undefined && known.count >= RETURNS_ALLOWED && known.untilMs > performance.now();
  }

  return {
    async assign(tx, sessions, rows, limit) {
      const room = new Map(sessions.map((session) => [session, session.room()]));
      const accepts = await acceptance(tx, plans, sessions, rows);
      const assigned: Assignment[] = [];
      for (const key of rows) {
        if (assigned.length >= limit) break;
        let best: Session | undefined;
        for (const [session, free] of room) {
          if (free <= (best === undefined ? 0 : (room.get(best) ?? 0))) continue;
          if (accepts(session, key) && !isPassedOver(session, key)) best = session;
        }
        if (best === undefined) continue;
        room.set(best, (room.get(best) ?? 0) - 1);
        assigned.push({ session: best, key });
      }
      const [driver] = sessions.map(({ facts }) => facts.driver);
      if (driver !== undefined) left.set(driver, Math.min(rows.length - assigned.length, 1_000));
      return assigned;
    },
    passedOver: (driver) => left.get(driver) ?? 0,
    returned(session, key) {
      const id = returnKey(session, key);
      const count = (returns.get(id)?.count ?? 0) + 1;
      returns.delete(id);
      returns.set(id, { count, untilMs: performance.now() + PASS_OVER_MS });
      const [oldest] = returns.keys();
      if (returns.size > MAX_REMEMBERED && oldest !== undefined) returns.delete(oldest);
    },
  };
}

/** Looks at specs only when the instances differ in what they accept. */
async function acceptance(
  tx: Tx,
  plans: Plans,
  sessions: readonly Session[],
  rows: readonly QueueRow[],
): Promise<(session: Session, key: JobKey) => boolean> {
  const digests = new Set(sessions.map(({ facts }) => facts.schemaDigest));
  if (digests.size <= 1 || rows.length === 0) return () => true;
  const contexts = await loadContexts(tx, plans, [...new Set(rows.map(({ runId }) => runId))]);
  const details = await detailsOf(tx, contexts, rows);
  return ({ facts }, { runId, job }) => {
    const spec = details.get(formatJobId({ runId, job }))?.spec ?? contexts.get(runId)?.plan.jobs[job]?.definition.spec;
    // A run that is not there any more makes a stale row, which whoever takes it removes.
    return spec === undefined || facts.accepts(spec);
  };
}
