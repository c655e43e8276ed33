// Values of runs, as the platform and as drivers change and read them. A change holds the run for as long as it takes; of two that meet,
// the second sees what the first has made.
import { jsonBytes } from '../core/check-fields.ts';
import { VALUES_VERSION } from '../core/event-versions.ts';
import type { AttemptKey, RunId } from '../core/ids.ts';
import type { JsonValue } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { isRefusal, overloaded, RefusedError, type Refusal, TOO_SLOW } from '../core/refusal.ts';
import { decideDeletion, decideSetting, type ExpectedVersion, type StoredValues } from '../core/run-values.ts';
import type { AttemptState } from '../core/states.ts';
import { shareInstances } from '../store/instance-rows.ts';
import { type Pool, withConnection, withTransaction } from '../store/pool.ts';
import { findRun } from '../store/run-views.ts';
import type { Tx } from '../store/sql.ts';
import {
  dropValue,
  findValue,
  listValues,
  lockRunValues,
  type LockedRun,
  noteWrite,
  putValue,
  readAttempt,
  readForAttempt,
  readStored,
} from '../store/value-rows.ts';
import type { RunValueOperations } from './engine.ts';
import { createOneAtATime, type OneAtATime } from './one-at-a-time.ts';
import { malformedCursor, noSuchRun, noSuchValue, replicaTooOld } from './refusals.ts';
import type { Replica } from './replica.ts';
import type { Writer } from './run-work.ts';

/** A change of one value. */
export interface ValueChange {
  readonly key: string;
  /** Undefined: it is deleted. */
  readonly value: JsonValue | undefined;
  readonly expected: ExpectedVersion;
}

/** What a driver is answered. */
export type ValueResult =
  /** Done. The version that there is now; 0: there is none. */
  | { readonly type: 'Done'; readonly version: number; readonly value?: JsonValue }
  | { readonly type: 'Refused'; readonly refusal: Refusal; readonly version: number }
  /** The attempt is not running in this instance's hand. */
  | { readonly type: 'Stale'; readonly state?: AttemptState }
  /** The instance has another session. */
  | { readonly type: 'Superseded' }
  /** The driver counts its changes wrongly. */
  | { readonly type: 'Invalid'; readonly problem: string };

export interface RunValues extends RunValueOperations {
  /** Reads a value for the session that holds an attempt. */
  readFor(writer: Writer, attempt: AttemptKey, key: string): Promise<ValueResult>;
  /** Changes a value for the session that holds an attempt. @param number Its driver's own: a repeated one has no second effect. */
  changeFor(writer: Writer, attempt: AttemptKey, number: number, change: ValueChange): Promise<ValueResult>;
}

export interface RunValuesOptions {
  readonly pool: Pool;
  readonly replica: Pick<Replica, 'oldest'>;
}

export function createRunValues({ pool, replica }: RunValuesOptions): RunValues {
  /** Of the runs of which values are being changed here. */
  const lines = new Map<RunId, OneAtATime>();
  let changing = 0;

  /** Changes of one run take one connection at a time: a run that somebody holds for long takes no more of those that all share. */
  async function changeInLine<T>(runId: RunId, work: (tx: Tx) => Promise<T>): Promise<T> {
    if (changing >= LIMITS.pendingQueries) throw overloaded(`${LIMITS.pendingQueries} changes of values`);
    const line = lines.get(runId) ?? createOneAtATime();
    lines.set(runId, line);
    changing++;
    try {
      return await line.run(() => inTime(() => withTransaction(pool, work)));
    } finally {
      changing--;
      if (line.settled() === undefined) lines.delete(runId);
    }
  }

  /** An older build would leave the values of a run that it deletes behind. */
  function whyTooOld(): Refusal | undefined {
    const oldest = replica.oldest();
    return oldest !== undefined && oldest.eventVersion < VALUES_VERSION ? replicaTooOld(oldest).refusal : undefined;
  }

  /** @throws RefusedError */
  async function change(project: string, runId: RunId, to: ValueChange): Promise<number> {
    const tooOld = whyTooOld();
    if (tooOld !== undefined) throw new RefusedError(tooOld);
    return await changeInLine(runId, async (tx) => {
      const run = await lockRunValues(tx, runId);
      if (run === undefined || run.project !== project) throw noSuchRun(runId);
      const stored = await readStored(tx, runId, run, to.key);
      const changed = await apply(tx, runId, run, stored, to);
      if (isRefusal(changed)) throw new RefusedError(changed);
      if (to.value === undefined && stored.current === undefined) throw noSuchValue(runId, to.key);
      return changed;
    });
  }

  return {
    set: (project, runId, key, value, expected) => change(project, runId, { key, value, expected }),
    async delete(project, runId, key, expected) {
      await change(project, runId, { key, value: undefined, expected });
    },
    get: (project, runId, key) =>
      withConnection(pool, async (tx) => {
        const value = await findValue(tx, project, runId, key);
        // Of a run that was deleted meanwhile nothing is shown.
        if ((await findRun(tx, project, runId)) === undefined) throw noSuchRun(runId);
        if (value === undefined) throw noSuchValue(runId, key);
        return value;
      }),
    list: (project, runId, prefix, { size, after }) =>
      withConnection(pool, async (tx) => {
        if (after === '') throw malformedCursor();
        const page = await listValues(tx, project, runId, { prefix, size, after });
        if ((await findRun(tx, project, runId)) === undefined) throw noSuchRun(runId);
        return page;
      }),
    readFor: (writer, attempt, key) =>
      withConnection(pool, async (tx): Promise<ValueResult> => {
        const row = await readForAttempt(tx, attempt, key);
        if (row === undefined) return { type: 'Stale' };
        if (row.instance !== writer.instance || row.state !== 'RUNNING') return { type: 'Stale', state: row.state };
        if (row.epoch !== writer.epoch) return { type: 'Superseded' };
        return row.found === undefined ? { type: 'Done', version: 0 } : { type: 'Done', ...row.found };
      }),
    async changeFor(writer, attempt, number, to) {
      const tooOld = whyTooOld();
      if (tooOld !== undefined) return { type: 'Refused', refusal: tooOld, version: 0 };
      return await changeInLine(attempt.runId, (tx) => changeUnder(tx, writer, attempt, number, to));
    },
  };
}

/** Tries again once what waited for a run in vain: a decision may hold it for longer than a lock is waited for. */
async function inTime<T>(change: () => Promise<T>): Promise<T> {
  try {
    return await change();
  } catch (error) {
    if (!(error instanceof RefusedError) || error.refusal.message !== TOO_SLOW) throw error;
    return await change();
  }
}

async function changeUnder(
  tx: Tx,
  writer: Writer,
  attempt: AttemptKey,
  number: number,
  to: ValueChange,
): Promise<ValueResult> {
  const { runId } = attempt;
  const run = await lockRunValues(tx, runId);
  if (run === undefined) return { type: 'Stale' };
  const instances = await shareInstances(tx, [writer.instance]);
  if (instances.get(writer.instance)?.epoch !== writer.epoch) return { type: 'Superseded' };
  const row = await readAttempt(tx, attempt);
  if (row === undefined) return { type: 'Stale' };
  const { instance, state, lastWrite } = row;
  if (instance !== writer.instance || state !== 'RUNNING') return { type: 'Stale', state };
  if (lastWrite !== undefined && number <= lastWrite.number) {
    if (number === lastWrite.number) return { type: 'Done', version: lastWrite.version };
    return { type: 'Invalid', problem: `it changed a value as number ${number} after ${lastWrite.number}` };
  }
  const stored = await readStored(tx, runId, run, to.key);
  const changed = await apply(tx, runId, run, stored, to);
  if (isRefusal(changed)) return { type: 'Refused', refusal: changed, version: stored.current?.version ?? 0 };
  await noteWrite(tx, attempt, { number, version: changed });
  return { type: 'Done', version: changed };
}

/** Changes a value of a locked run. @returns The version that there is then; 0: there is none. */
async function apply(
  tx: Tx,
  runId: RunId,
  run: LockedRun,
  stored: StoredValues,
  { key, value, expected }: ValueChange,
): Promise<number | Refusal> {
  if (value === undefined) {
    const refusal = decideDeletion(key, stored, expected);
    if (refusal === undefined && stored.current !== undefined) await dropValue(tx, runId, key);
    return refusal ?? 0;
  }
  const bytes = key.length + jsonBytes(value);
  const version = decideSetting(key, stored, bytes, expected);
  if (!isRefusal(version)) await putValue(tx, runId, run.project, { key, value, bytes, version });
  return version;
}
