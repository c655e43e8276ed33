// Reading logs: a part from an offset, or a tail that joins what is stored with what comes. Both read the same rows, so there is no
// seam between history and live, and any replica serves any log.
import { formatJobId, type JobKey } from '../core/ids.ts';
import { RefusedError } from '../core/refusal.ts';
import { isJobFinished } from '../core/states.ts';
import type { LogPart } from '../core/views.ts';
import { loadJobs } from '../store/job-rows.ts';
import { type LogPosition, logPosition, readChunks, readSections } from '../store/log-views.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import type { Tx } from '../store/sql.ts';
import type { JobOperations } from './engine.ts';
import { follow, type Reading } from './follow.ts';
import type { Plans } from './plans.ts';
import { noSuchJob, noSuchRun } from './refusals.ts';
import { loadRun } from './stored-run.ts';
import type { WakeUps } from './wake-ups.ts';

/** Of one part: what a reader that stops reading leaves in memory. */
const TAIL_BYTES = 131_072;
/** A log that grows with every flush is read together, so that its readers do not outweigh its writer. */
const TAIL_REST_MS = 10;

export interface LogReaderOptions {
  readonly pool: Pool;
  readonly plans: Plans;
  readonly wakeUps: WakeUps;
}

export function createLogReader({
  pool,
  plans,
  wakeUps,
}: LogReaderOptions): Pick<JobOperations, 'readLog' | 'tailLog'> {
  const readTogether = createSharedReads(pool);

  /** @throws RefusedError when the job is not there, or not of this project. */
  async function assertJob(tx: Tx, project: string, key: JobKey): Promise<void> {
    const run = await loadRun(tx, plans, project, key.runId);
    if (run === undefined) throw noSuchRun(key.runId);
    if (run.plan.jobs[key.job] === undefined) throw noSuchJob(key);
  }

  return {
    readLog: (project, key, attempt, offset, maxBytes) =>
      withConnection(pool, async (tx) => {
        await assertJob(tx, project, key);
        const position = await logPosition(tx, key, attempt);
        if (position === undefined) throw noSuchAttempt(key, attempt);
        return await readPart(tx, position, offset, maxBytes);
      }),

    async *tailLog(project, key, attempt, offset, signal) {
      using subscription = wakeUps.subscribe(`log:${formatJobId(key)}`);
      await withConnection(pool, (tx) => assertJob(tx, project, key));
      let number = attempt;
      let next = offset;
      const nothing = (): LogPart => {
        return { attempt: number ?? 0, chunks: [], sections: [], nextOffset: next, logSize: next, logState: 'OPEN' };
      };
      yield nothing();
      const read = async (): Promise<Reading<LogPart>> => {
        const part = await readTogether(key, number, next);
        if (part === undefined) return { found: undefined, more: false };
        number = part.attempt;
        const grown = part.nextOffset > next;
        next = part.nextOffset;
        return { found: grown || isLast(part) ? part : undefined, more: grown && next < part.logSize };
      };
      for await (const part of follow({ read, subscription, signal, restMs: TAIL_REST_MS })) {
        if (part === undefined) yield nothing();
        // OPEN until the last byte was given, whatever is known already.
        else yield isLast(part) ? part : { ...part, logState: 'OPEN' };
        if (part !== undefined && isLast(part)) return;
      }
    },
  };
}

function isLast({ logState, nextOffset, logSize }: LogPart): boolean {
  return logState === 'EXPIRED' || (logState !== 'OPEN' && nextOffset >= logSize);
}

/**
 * Lets tails that want the same part share one read. A read is shared until it is sent and no longer, so that each sees what was
 * committed before it was asked for.
 */
function createSharedReads(
  pool: Pool,
): (key: JobKey, attempt: number | undefined, offset: number) => Promise<LogPart | undefined> {
  const waiting = new Map<string, Promise<LogPart | undefined>>();

  async function read(id: string, key: JobKey, attempt: number | undefined, offset: number) {
    try {
      // Those that one ring or one timer woke.
      await new Promise(setImmediate);
      return await withConnection(pool, (tx) => {
        waiting.delete(id);
        return readNext(tx, key, attempt, offset);
      });
    } catch (error) {
      waiting.delete(id);
      throw error;
    }
  }

  return (key, attempt, offset) => {
    const id = `${formatJobId(key)}.${attempt ?? ''}@${offset}`;
    const reading = waiting.get(id) ?? read(id, key, attempt, offset);
    waiting.set(id, reading);
    return reading;
  };
}

/** Reads what a tail gives next; undefined while there is nothing to read from. @throws RefusedError when there never will be. */
async function readNext(
  tx: Tx,
  key: JobKey,
  attempt: number | undefined,
  offset: number,
): Promise<LogPart | undefined> {
  const position = await logPosition(tx, key, attempt);
  // An offer that is not accepted leaves no log: unless it was asked for, another attempt is waited for.
  if (position !== undefined && (position.ran || attempt !== undefined)) {
    return await readPart(tx, position, offset, TAIL_BYTES);
  }
  const isOver = await hasFinished(tx, key);
  if (isOver === undefined) throw noSuchJob(key);
  if (!isOver) return undefined;
  // No attempt begins any more, but one may have begun, and even ended, since it was looked for.
  const last = await logPosition(tx, key, attempt);
  if (last === undefined) throw noSuchAttempt(key, attempt);
  return await readPart(tx, last, offset, TAIL_BYTES);
}

/** The position was read first, so it never promises what the chunks do not hold. */
async function readPart(tx: Tx, position: LogPosition, offset: number, maxBytes: number): Promise<LogPart> {
  const { key, logSize, logState } = position;
  if (logState === 'EXPIRED') return expired(position, offset);
  const to = Math.min(logSize, offset + maxBytes);
  const chunks = offset < to ? await readChunks(tx, position, offset, to) : [];
  if (chunks.length === 0 && offset < to) {
    // They were dropped since the position was read, or else the tables contradict each other.
    const again = await logPosition(tx, key, key.attempt);
    if (again?.logState === 'EXPIRED') return expired(again, offset);
  }
  const last = chunks.at(-1);
  const nextOffset = last === undefined ? offset : last.offset + last.data.length;
  // A section at the very end belongs to the last part.
  const sectionsTo = logState !== 'OPEN' && nextOffset >= logSize ? nextOffset + 1 : nextOffset;
  const sections = sectionsTo > offset ? await readSections(tx, key, offset, sectionsTo) : [];
  return { attempt: key.attempt, chunks, sections, nextOffset, logSize, logState };
}

function expired({ key, logSize, logState }: LogPosition, offset: number): LogPart {
  return { attempt: key.attempt, chunks: [], sections: [], nextOffset: offset, logSize, logState };
}

/** Whether a job has finished; undefined when it was deleted. */
async function hasFinished(tx: Tx, key: JobKey): Promise<boolean | undefined> {
  const [job] = await loadJobs(tx, [key]);
  return job && isJobFinished(job.record.state);
}

function noSuchAttempt(key: JobKey, attempt: number | undefined): RefusedError {
  const message =
    attempt === undefined
      ? `job ${formatJobId(key)} has no attempt: nothing has run, so there is no log`
      : `job ${formatJobId(key)} has no attempt ${attempt}: list those it has with ListAttempts`;
  return new RefusedError({ refused: 'ATTEMPT_NOT_FOUND', message });
}
