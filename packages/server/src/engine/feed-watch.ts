// Watching the runs of a project: those that match now, then each one that changes. A cursor is a point of the feed that any
// replica can go on from; a change may come twice, but none is missed.
import { cutAfter, type FeedPoint, formatCursor, parseCursor } from '../core/feed-point.ts';
import { parseRunId, type RunId } from '../core/ids.ts';
import { type FeedBounds, readFeed, readFeedBounds } from '../store/event-views.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import { type ChangedRun, listChangedRuns, listRuns } from '../store/run-views.ts';
import type { Tx } from '../store/sql.ts';
import type { RunChanges, RunFilter, RunOperations } from './engine.ts';
import { follow, type Reading } from './follow.ts';
import { invalidCursor } from './refusals.ts';
import type { WakeUps } from './wake-ups.ts';

const SNAPSHOT_PAGE = 1_000;
/** How long changes are collected before they are read together. */
const REST_MS = 100;

export interface FeedWatchOptions {
  readonly pool: Pool;
  readonly wakeUps: WakeUps;
}

/** The part of the feed that is being handed out. */
interface Stretch {
  readonly runIds: readonly RunId[];
  /** Where the feed goes on once all of them are handed out. */
  readonly end: FeedPoint;
  readonly isLast: boolean;
  /** The last run that was handed out. */
  after: string | undefined;
}

export function createFeedWatch({ pool, wakeUps }: FeedWatchOptions): Pick<RunOperations, 'watchAll'> {
  return {
    async *watchAll(project, filter, cursor, signal) {
      using subscription = wakeUps.subscribe('feed');
      // Taken before the runs are listed: what changes meanwhile comes again as a change.
      const bounds = await withConnection(pool, readFeedBounds);
      const from = cursor === undefined ? bounds.now : resumeAt(cursor, bounds);
      if (cursor === undefined) yield* listMatching(pool, project, filter, from, signal);
      else yield { changes: [], cursor: formatCursor(from), snapshotComplete: false };
      const feed = openFeed(pool, project, filter, from);
      for await (const changes of follow({ read: feed.read, subscription, signal, restMs: REST_MS })) {
        yield { changes: changes ?? [], cursor: formatCursor(feed.point()), snapshotComplete: false };
      }
    },
  };
}

function resumeAt(cursor: string, { now, from }: FeedBounds): FeedPoint {
  const point = parseCursor(cursor);
  if (point === undefined) throw invalidCursor('the cursor is none that a watch has sent: watch again without one');
  if (point.end > now.end) {
    throw invalidCursor(
      'the cursor is newer than this database, which was replaced or restored: watch again without one',
    );
  }
  if (point.end <= from) {
    throw invalidCursor(
      'the cursor is so old that runs which were deleted since are forgotten: watch again without one',
    );
  }
  return point;
}

async function* listMatching(
  pool: Pool,
  project: string,
  filter: RunFilter,
  from: FeedPoint,
  signal: AbortSignal,
): AsyncGenerator<RunChanges, void> {
  const { pipeline, states, labels } = filter;
  let before: RunId | undefined;
  do {
    signal.throwIfAborted();
    const query = { pipeline, states, labels, size: SNAPSHOT_PAGE, before };
    const { items, next } = await withConnection(pool, (tx) => listRuns(tx, project, query));
    before = next === undefined ? undefined : parseRunId(next);
    const changes = items.map((run) => ({ run, left: false }));
    if (before === undefined) yield { changes, cursor: formatCursor(from), snapshotComplete: true };
    else yield { changes, snapshotComplete: false };
  } while (before !== undefined);
}

interface Feed {
  /** Everything before it has been handed out. */
  readonly point: () => FeedPoint;
  /** Hands out the next runs that changed. */
  readonly read: () => Promise<Reading<RunChanges['changes']>>;
}

function openFeed(pool: Pool, project: string, { pipeline, states, labels }: RunFilter, from: FeedPoint): Feed {
  let point = from;
  let open: Stretch | undefined;

  // Its state alone can bring a run into the filter, or take it out as its deletion does: what it was created with never changes.
  const change = ({ run, deleted }: ChangedRun) => ({
    run,
    left: deleted || (states.length > 0 && !states.includes(run.state)),
  });

  return {
    point: () => point,
    read: () =>
      withConnection(pool, async (tx) => {
        const stretch = (open ??= await readStretch(tx, project, point));
        const { items, next } = await listChangedRuns(tx, project, stretch.runIds, { pipeline, labels }, stretch.after);
        stretch.after = next;
        if (next === undefined) {
          point = stretch.end;
          open = undefined;
        }
        return {
          found: items.length === 0 ? undefined : items.map(change),
          more: next !== undefined || !stretch.isLast,
        };
      }),
  };
}

async function readStretch(tx: Tx, project: string, from: FeedPoint): Promise<Stretch> {
  const { runIds, cutAt, now } = await readFeed(tx, project, from);
  return {
    runIds,
    end: cutAt === undefined ? now : cutAfter(now, cutAt),
    isLast: cutAt === undefined,
    after: undefined,
  };
}
