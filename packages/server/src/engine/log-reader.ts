// Reading logs: a part from an offset, or a tail that joins what is stored with what comes. Both read the same rows, so there is no
// seam between history and live, and any replica serves any log.
import { formatJobId, type JobKey } from '../core/ids.ts';
import { RefusedError } from '../core/refusal.ts';
import { isJobFinished } from '../core/states.ts';
import type { LogPart } from '../core/views.ts';
import { logPosition, readChunks, readSections } from '../store/log-rows.ts';
import { loadJobs } from '../store/ledger-rows.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import type { Tx } from '../store/sql.ts';
import type { JobOperations } from './engine.ts';
import { follow, type Reading } from './follow.ts';
import type { Plans } from './plans.ts';
import { noSuchJob, noSuchRun } from './refusals.ts';
import { loadRun } from './stored-run.ts';
import type { WakeUps } from './wake-ups.ts';

const TAIL_BYTES = 1_048_576;

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
        const part = await readPart(tx, key, attempt, offset, maxBytes);
        if (part === undefined) throw noSuchAttempt(key, attempt);
        return part;
      }),

    async *tailLog(project, key, attempt, offset, signal) {
      using subscription = wakeUps.subscribe(`log:${formatJobId(key)}`);
      await withConnection(pool, (tx) => assertJob(tx, project, key));
      let number = attempt;
      let next = offset;
      yield { attempt: number ?? 0, chunks: [], sections: [], nextOffset: next, logSize: next, logState: 'OPEN' };
      const read = (): Promise<Reading<LogPart>> =>
        withConnection(pool, async (tx) => {
          const part = await readPart(tx, key, number, next, TAIL_BYTES);
          if (part === undefined) {
            // An attempt that was asked for by number and is not there may still come, as long as the job goes on.
            if (await isOver(tx, key)) throw noSuchAttempt(key, number);
            return { found: undefined, more: false };
          }
          number = part.attempt;
          const ended = part.logState !== 'OPEN' && part.nextOffset >= part.logSize;
          const grown = part.nextOffset > next || part.sections.length > 0;
          next = part.nextOffset;
          return { found: grown || ended ? part : undefined, more: grown && part.nextOffset < part.logSize };
        });
      for await (const part of follow({ read, subscription, signal })) {
        if (part === undefined) {
          yield { attempt: number ?? 0, chunks: [], sections: [], nextOffset: next, logSize: next, logState: 'OPEN' };
          continue;
        }
        // OPEN until the last byte was given, whatever is known already.
        const ended = part.logState !== 'OPEN' && part.nextOffset >= part.logSize;
        yield ended ? part : { ...part, logState: 'OPEN' };
        if (ended) return;
      }
    },
  };
}

/** Reads one part; undefined when there is no such attempt. The head is read first, so that it never promises too little. */
async function readPart(
  tx: Tx,
  key: JobKey,
  attempt: number | undefined,
  offset: number,
  maxBytes: number,
): Promise<LogPart | undefined> {
  const position = await logPosition(tx, key.runId, key.job, attempt);
  if (position === undefined) return undefined;
  const { logSize, logState } = position;
  const attemptKey = { ...key, attempt: position.attempt };
  const part = { attempt: position.attempt, logSize, logState };
  const to = Math.min(logSize, offset + maxBytes);
  const chunks = offset >= to ? [] : await readChunks(tx, attemptKey, offset, to);
  const last = chunks.at(-1);
  const nextOffset = last === undefined ? offset : last.offset + last.data.length;
  // A section at the very end belongs to the last part.
  const sectionsTo = logState !== 'OPEN' && nextOffset >= logSize ? nextOffset + 1 : nextOffset;
  const sections = sectionsTo > offset ? await readSections(tx, attemptKey, offset, sectionsTo) : [];
  return { ...part, chunks, sections, nextOffset };
}

async function isOver(tx: Tx, key: JobKey): Promise<boolean> {
  const [job] = await loadJobs(tx, [key]);
  return job !== undefined && isJobFinished(job.record.state);
}

function noSuchAttempt(key: JobKey, attempt: number | undefined): RefusedError {
  const message =
    attempt === undefined
      ? `job ${formatJobId(key)} has no attempt: nothing has run, so there is no log`
      : `job ${formatJobId(key)} has no attempt ${attempt}: list those it has with ListAttempts`;
  return new RefusedError({ refused: 'ATTEMPT_NOT_FOUND', message });
}
