// What becomes of each attempt that a Hello names: it goes on, it starts now, it has ended before, or it is to stop.
import type { Command } from '../core/commands.ts';
import type { HeldAttempt, Verdict } from '../core/frames.ts';
import { type AttemptKey, formatAttemptId } from '../core/ids.ts';
import { LIMITS } from '../core/limits.ts';
import type { AttemptStateRow, LiveAttemptRow } from '../store/attempt-rows.ts';
import type { Ledger } from './ledger.ts';
import { BEGINNING, CannotStart, type ComposeStart, type StartPoint } from './offers.ts';
import type { Writer } from './run-work.ts';

export interface VerdictOptions {
  readonly ledger: Ledger;
  readonly composeStart: ComposeStart;
}

/** What is stored of the attempts of an instance. */
export interface StoredAttempts {
  readonly live: readonly LiveAttemptRow[];
  readonly ended: readonly AttemptStateRow[];
  /** As of when. */
  readonly nowMs: number;
}

/** Of the outputs and secrets that a Welcome carries; what else is in it needs less than as much again. */
const STARTS_BYTES = LIMITS.responseBytes / 2;

export async function judgeHeld(
  options: VerdictOptions,
  writer: Writer,
  held: readonly HeldAttempt[],
  { live, ended, nowMs }: StoredAttempts,
): Promise<readonly Verdict[]> {
  const liveById = new Map(live.map((row) => [formatAttemptId(row.key), row]));
  const endedById = new Map(ended.map((row) => [formatAttemptId(row.key), row]));
  const judged = await Promise.all(
    held.map((attempt) => {
      const id = formatAttemptId(attempt.key);
      return judge(options, writer, attempt, nowMs, liveById.get(id), endedById.get(id));
    }),
  );
  return await fitStarts(options, writer, judged);
}

/** The command that ends an attempt whose driver is gone, or that cannot go on. */
export function loseCommand(
  key: AttemptKey,
  { instance }: Pick<Writer, 'instance'>,
  failureClass: 'INFRASTRUCTURE' | 'INVALID',
  message: string,
): Command {
  const { job, attempt } = key;
  return { type: 'Lose', job, attempt, instance, failureClass, message, random: Math.random(), content: undefined };
}

async function judge(
  options: VerdictOptions,
  writer: Writer,
  { key, phase }: HeldAttempt,
  nowMs: number,
  live: LiveAttemptRow | undefined,
  ended: AttemptStateRow | undefined,
): Promise<Verdict> {
  if (live === undefined) {
    return ended?.hasResult === true ? { kind: 'FINISHED', key, logState: ended.logState } : { kind: 'STOP', key };
  }
  if (live.state === 'RUNNING' && phase !== 'ACCEPTED') return keep(live);
  // Its Accept may have been lost on the way: it is repeated here, and whichever committed first stands.
  const { reply, run } = await options.ledger.submit(
    key.runId,
    { type: 'Accept', job: key.job, attempt: key.attempt, instance: writer.instance },
    { writer },
  );
  if (reply.type !== 'Done' || run === undefined) return { kind: 'STOP', key };
  try {
    const start = await options.composeStart(run, key, startPointOf(live, nowMs));
    return { kind: 'START', key, start };
  } catch (error) {
    if (!(error instanceof CannotStart)) throw error;
    const message = `the job cannot start: ${error.message}`;
    await options.ledger.submit(key.runId, loseCommand(key, writer, 'INVALID', message), { writer });
    return { kind: 'STOP', key };
  }
}

/** Stops what the one message of a Welcome has no room to start: it is tried again. */
async function fitStarts(
  { ledger }: VerdictOptions,
  writer: Writer,
  verdicts: readonly Verdict[],
): Promise<readonly Verdict[]> {
  let room = STARTS_BYTES;
  const message = 'too much is to be started at once to tell its driver';
  return await Promise.all(
    verdicts.map(async (verdict): Promise<Verdict> => {
      if (verdict.kind !== 'START') return verdict;
      const { key, start } = verdict;
      const bytes = JSON.stringify([start.needs, start.secrets]).length;
      if (bytes <= room) {
        room -= bytes;
        return verdict;
      }
      await ledger.submit(key.runId, loseCommand(key, writer, 'INFRASTRUCTURE', message), { writer });
      return { kind: 'STOP', key };
    }),
  );
}

/**
 * Where an attempt starts whose Start this process never got. The process has said nothing of it then, so whatever is noted of it is
 * an earlier one's: it is an orphan that was adopted.
 */
function startPointOf(live: LiveAttemptRow, nowMs: number): StartPoint {
  const { startedMs, logSize, logCrc32c, checkpoint, annotations, valueNumber, artifacts } = live;
  const ranMs = startedMs === undefined ? 0 : nowMs - startedMs;
  const isNew = logSize === 0 && checkpoint.length === 0 && annotations === 0 && valueNumber === 0 && artifacts === 0;
  if (isNew) return { ...BEGINNING, ranMs };
  return { ranMs, resumed: true, logOffset: logSize, logCrc32c, annotations, valueNumber, artifacts };
}

function keep({ key, logSize, stop }: LiveAttemptRow): Verdict {
  return { kind: 'KEEP', key, logOffset: logSize, ...(stop !== undefined && { cancel: stop.phase }) };
}
