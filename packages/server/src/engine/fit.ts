// Which session takes which job: those that its labels and pools allow and whose spec schema accepts it, but not an instance that just
// sent it back three times in a row. What nobody here can take is left in the queue.
import type { FairOrder } from '../core/fair-order.ts';
import { formatJobId, type JobKey } from '../core/ids.ts';
import { mayTake, type Placement, preference } from '../core/placement.ts';
import type { QueueRow } from '../store/queue-rows.ts';
import type { Tx } from '../store/sql.ts';
import type { Plans } from './plans.ts';
import { type ClaimedFlow, type Flow, linesOf, type Trial } from './queue-flows.ts';
import { detailsOf, loadContexts } from './run-context.ts';
import type { Session } from './session.ts';
import { createStickyPlaces } from './sticky-places.ts';

/** Offers of a job in a row that one instance may send back before it is passed over. */
const RETURNS_ALLOWED = 3;
const PASS_OVER_MS = 30_000;
const LONGEST_PASS_OVER_MS = 600_000;
/** Jobs remembered; the oldest are forgotten. */
const MAX_REMEMBERED = 10_000;

/**
 * How long an instance is passed over that sent a job back so often. It has to outlast the job's own pause before it is queued again, which
 * grows, too.
 */
export function passOverMs(returned: number): number {
  if (returned < RETURNS_ALLOWED) return 0;
  return Math.min(PASS_OVER_MS * 2 ** (returned - RETURNS_ALLOWED), LONGEST_PASS_OVER_MS);
}

export interface Assignment {
  readonly session: Session;
  readonly key: JobKey;
  /** Whose turn it took. */
  readonly flow: Flow;
}

export interface Assigned {
  readonly assignments: readonly Assignment[];
  /** What became of the rows of each flow. */
  readonly trials: ReadonlyMap<Flow, Trial>;
}

export interface Fit {
  /** Assigns at most `limit` of the claimed rows, in the order of their turns. */
  assign(
    tx: Tx,
    sessions: readonly Session[],
    claimed: readonly ClaimedFlow[],
    limit: number,
    order: FairOrder,
  ): Promise<Assigned>;
  /** An instance sent an offer back, or let it run out. */
  returned(session: Session, key: JobKey): void;
}

/** Tells how many jobs of a flow the sessions have room for now. */
export function roomFor(sessions: readonly Session[]): (flow: Flow) => number {
  const total = sessions.reduce((sum, session) => sum + session.room(), 0);
  return ({ placement }) => {
    if (placement === undefined) return total;
    let room = 0;
    for (const session of sessions) {
      if (mayTake(session.facts.offers, placement)) room += roomOf(session, placement.pool);
    }
    return room;
  };
}

export function createFit(plans: Plans): Fit {
  const returns = new Map<string, { count: number; untilMs: number }>();
  const places = createStickyPlaces();

  const returnKey = (session: Session, key: JobKey): string => `${session.facts.writer.instance} ${formatJobId(key)}`;

  function isPassedOver(session: Session, key: JobKey): boolean {
    const known = returns.get(returnKey(session, key));
    return known !== undefined && known.untilMs > performance.now();
  }

  return {
    async assign(tx, sessions, claimed, limit, order) {
      const rows = claimed.flatMap((flow) => flow.rows);
      const accepts = await acceptance(tx, plans, sessions, rows);
      const seats = createSeats(sessions);
      const assigned: Assignment[] = [];

      const suits = (session: Session, row: QueueRow): boolean => accepts(session, row) && !isPassedOver(session, row);

      function place(flow: Flow, row: QueueRow): boolean {
        const candidates = seats.of(flow.placement);
        const sticky = places.find(flow, row, candidates);
        const isThere = sticky !== undefined && suits(sticky, row);
        if (isThere && !seats.isFree(sticky, flow.placement) && places.isWaiting(row)) return false;
        const session =
          isThere && seats.isFree(sticky, flow.placement)
            ? sticky
            : best(candidates, (one) => (seats.isFree(one, flow.placement) && suits(one, row) ? seats.room(one) : 0));
        if (session === undefined) return false;
        seats.take(session, flow.placement);
        places.took(flow, row, session);
        assigned.push({ session, key: row, flow });
        return true;
      }

      const trials = new Map(claimed.map(({ flow }) => [flow, { tried: 0, left: 0, refused: 0 }]));
      const lines = linesOf(claimed.map(({ flow, rows }) => ({ ...lineOf(flow), flow, rows }))).map(mergeRows);
      order.serve(lines, limit, ({ waiting }) => {
        const next = waiting.next();
        if (next.done === true) return false;
        const { flow, row } = next.value;
        const isPlaced = place(flow, row);
        const trial = trials.get(flow);
        if (trial === undefined) throw new Error('a row of a flow that was not claimed');
        trial.tried++;
        if (isPlaced) return true;
        trial.left++;
        const hadRoom = (session: Session): boolean => roomOf(session, flow.placement?.pool) > 0;
        if (!seats.of(flow.placement).some(({ session }) => hadRoom(session) && suits(session, row))) trial.refused++;
        return false;
      });
      return { assignments: assigned, trials };
    },
    returned(session, key) {
      const id = returnKey(session, key);
      const count = (returns.get(id)?.count ?? 0) + 1;
      returns.delete(id);
      returns.set(id, { count, untilMs: performance.now() + passOverMs(count) });
      const [oldest] = returns.keys();
      if (returns.size > MAX_REMEMBERED && oldest !== undefined) returns.delete(oldest);
    },
  };
}

interface Candidate {
  readonly session: Session;
  /** How many of the preferred rules hold. */
  readonly preference: number;
}

/** The free slots of sessions, while they are given out. */
function createSeats(sessions: readonly Session[]) {
  const free = new Map(sessions.map((session) => [session, session.room()]));
  const pools = new Map<string, Map<Session, number>>();
  const candidates = new Map<Placement | undefined, readonly Candidate[]>();

  function freeOf(pool: string): Map<Session, number> {
    const known = pools.get(pool) ?? new Map(sessions.map((session) => [session, session.roomOf(pool)]));
    pools.set(pool, known);
    return known;
  }

  return {
    of(placement: Placement | undefined): readonly Candidate[] {
      const known =
        candidates.get(placement) ??
        sessions
          .filter(({ facts }) => mayTake(facts.offers, placement))
          .map((session) => ({ session, preference: preference(session.facts.offers, placement) }));
      candidates.set(placement, known);
      return known;
    },
    room: (session: Session): number => free.get(session) ?? 0,
    isFree(session: Session, placement: Placement | undefined): boolean {
      if ((free.get(session) ?? 0) === 0) return false;
      return placement?.pool === undefined || (freeOf(placement.pool).get(session) ?? 0) > 0;
    },
    take(session: Session, placement: Placement | undefined): void {
      free.set(session, (free.get(session) ?? 0) - 1);
      if (placement?.pool === undefined) return;
      const slots = freeOf(placement.pool);
      slots.set(session, (slots.get(session) ?? 0) - 1);
    },
  };
}

/** The one that is preferred most, and of these the one with the most room; none without room. */
function best(candidates: readonly Candidate[], roomOf: (session: Session) => number): Session | undefined {
  let found: Candidate | undefined;
  let room = 0;
  for (const candidate of candidates) {
    const isLess = found !== undefined && candidate.preference < found.preference;
    if (isLess) continue;
    const isMore = found === undefined || candidate.preference > found.preference;
    const own = roomOf(candidate.session);
    if (own === 0 || (!isMore && own <= room)) continue;
    found = candidate;
    room = own;
  }
  return found?.session;
}

function roomOf(session: Session, pool: string | undefined): number {
  return pool === undefined ? session.room() : Math.min(session.room(), session.roomOf(pool));
}

function lineOf({ project, pipeline }: Flow): { readonly project: string; readonly pipeline: string } {
  return { project, pipeline };
}

interface LineRows {
  readonly project: string;
  readonly pipeline: string;
  readonly flow: Flow;
  readonly rows: readonly QueueRow[];
}

/** The rows of a line's flows in one order. */
function mergeRows(flows: readonly LineRows[]) {
  const [first] = flows;
  if (first === undefined) throw new Error('a line without a flow');
  const all = flows.flatMap(({ flow, rows }) => rows.map((row) => ({ flow, row })));
  if (flows.length > 1) all.sort((a, b) => a.row.rank - b.row.rank || a.row.no - b.row.no);
  const { project, pipeline } = first;
  return { line: { project, pipeline, waiting: all.values() }, count: all.length };
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
