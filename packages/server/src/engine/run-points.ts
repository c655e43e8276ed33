// Runs as they were right after an event, by replaying their ledgers. Events never change, so each page of them is read on a connection
// of its own and no transaction stays open; few runs are replayed at a time, and the last points are kept to go on from.
import type { RunId } from '../core/ids.ts';
import { RefusedError } from '../core/refusal.ts';
import { createReplay, type RunPoint, startPoint } from '../core/replay.ts';
import { readEvents, type StoredEvent } from '../store/event-views.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import { noSuchRun } from './refusals.ts';
import type { StoredRun } from './stored-run.ts';
import { createWaitingLine } from './waiting-line.ts';

const REPLAYS_AT_A_TIME = 4;
const REPLAYS_IN_LINE = 100;
const MAX_KEPT = 100;
/** Jobs of all points that are kept. */
const MAX_KEPT_JOBS = 30_000;

export interface RunPoints {
  /** @param seq Of an event that the run has. @throws RefusedError RUN_NOT_FOUND when it is deleted meanwhile, LIMIT_REACHED */
  at(run: Pick<StoredRun, 'runId' | 'project' | 'plan'>, seq: number, signal: AbortSignal): Promise<RunPoint>;
  /** Hands the events of a run on one by one, up to `seq` or until `take` answers false. @throws as `at` */
  read(
    run: Pick<StoredRun, 'runId' | 'project'>,
    seq: number,
    take: (event: StoredEvent) => boolean,
    signal: AbortSignal,
  ): Promise<void>;
}

export function createRunPoints(pool: Pool): RunPoints {
  const kept = createKeptPoints();
  const takeTurn = createWaitingLine({ atATime: REPLAYS_AT_A_TIME, inLine: REPLAYS_IN_LINE, refuse: tooMany });

  async function readBetween(
    runId: RunId,
    after: number,
    until: number,
    take: (event: StoredEvent) => boolean,
    signal: AbortSignal,
  ): Promise<void> {
    for (let last = after; last < until; ) {
      signal.throwIfAborted();
      const events = await withConnection(pool, (tx) => readEvents(tx, runId, last));
      if (events === undefined) throw noSuchRun(runId);
      if (events.length === 0) throw new Error(`the ledger of run ${runId} ends with ${last}, before ${until}`);
      for (const event of events) {
        if (event.seq > until) return;
        if (event.seq !== last + 1) throw new Error(`event ${event.seq} of run ${runId} follows ${last}`);
        if (!take(event)) return;
        last = event.seq;
      }
    }
  }

  return {
    async at({ runId, project, plan }, seq, signal) {
      const known = kept.upTo(runId, seq);
      if (known?.run.seq === seq) return known;
      return await takeTurn(
        project,
        async () => {
          const from = kept.upTo(runId, seq) ?? startPoint(plan);
          const replay = createReplay(from);
          const take = (event: StoredEvent): boolean => {
            replay.take(event);
            return true;
          };
          await readBetween(runId, from.run.seq, seq, take, signal);
          return kept.keep(runId, replay.point());
        },
        signal,
      );
    },
    read: ({ runId, project }, seq, take, signal) =>
      takeTurn(project, () => readBetween(runId, 0, seq, take, signal), signal),
  };
}

function tooMany(): RefusedError {
  return new RefusedError({
    refused: 'LIMIT_REACHED',
    message: `${REPLAYS_IN_LINE} replays wait at this replica already: try again later`,
    metadata: { limit: 'replays', max: String(REPLAYS_IN_LINE) },
  });
}

interface KeptPoints {
  /** The last point of a run that is kept and not behind this event. */
  upTo(runId: RunId, seq: number): RunPoint | undefined;
  keep(runId: RunId, point: RunPoint): RunPoint;
}

/** Points by their use, the last used one last. */
function createKeptPoints(): KeptPoints {
  const points = new Map<string, { readonly runId: RunId; readonly point: RunPoint }>();
  let jobs = 0;

  function keep(runId: RunId, point: RunPoint): RunPoint {
    const key = `${runId} ${point.run.seq}`;
    if (points.delete(key)) jobs -= point.jobs.size;
    points.set(key, { runId, point });
    jobs += point.jobs.size;
    for (const [oldest, { point: dropped }] of points) {
      if (points.size <= MAX_KEPT && jobs <= MAX_KEPT_JOBS) break;
      points.delete(oldest);
      jobs -= dropped.jobs.size;
    }
    return point;
  }

  return {
    keep,
    upTo(runId, seq) {
      let nearest: RunPoint | undefined;
      for (const { runId: of, point } of points.values()) {
        if (of !== runId || point.run.seq > seq || point.run.seq < (nearest?.run.seq ?? 0)) continue;
        nearest = point;
      }
      return nearest && keep(runId, nearest);
    },
  };
}
