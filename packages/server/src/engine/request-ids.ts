// Request ids: for a day, the same id with the same request is answered with the run that it made, and with another one refused.
// That holds whatever became of what the request was about, and of the run itself: a repetition never makes a second one.
import { createHash } from 'node:crypto';
import type { RunId } from '../core/ids.ts';
import { canonicalJson } from '../core/json.ts';
import { isRefusal, type Refusal, RefusedError } from '../core/refusal.ts';
import { readClock } from '../store/ledger-rows.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import { claimRequestIds, findRequestIds, type RequestIdRow } from '../store/run-rows.ts';
import type { NewRun } from './engine.ts';

/** What a repeated request id is compared with: everything that was asked for, as it was asked. */
export function bodyDigest(verb: string, asked: Partial<NewRun> & object): Buffer {
  return createHash('sha256')
    .update(canonicalJson({ verb, ...asked, requestId: undefined, traceparent: undefined }))
    .digest();
}

type Asked = Omit<RequestIdRow, 'runId'>;

/** What a request is answered whose id was used before. */
export function answerAgain({ requestId, bodyDigest: digest }: Asked, earlier: RequestIdRow): RunId | Refusal {
  if (Buffer.compare(earlier.bodyDigest, digest) === 0) return earlier.runId;
  return {
    refused: 'REQUEST_ID_REUSED',
    message: `request_id ${JSON.stringify(requestId)} was used with another request: take a new one for each new request`,
    metadata: { run_id: earlier.runId },
  };
}

/**
 * Creates a run, unless that is refused: then a repetition is answered as the first time, although what it names may be gone or
 * changed by now.
 * @param asked Undefined: without a request id.
 */
export async function createOnce(
  pool: Pool,
  asked: Asked | undefined,
  create: () => Promise<RunId | Refusal>,
): Promise<RunId | Refusal> {
  const created = await refusalOrValue(create);
  if (!isRefusal(created) || asked === undefined || created.refused === 'DATABASE_UNAVAILABLE') return created;
  const [earlier] = await withConnection(pool, (tx) => findRequestIds(tx, [asked]));
  return earlier === undefined ? created : answerAgain(asked, earlier);
}

/**
 * Takes a request id for something that is done to a run that is there. Returns the run that it was used for: another request, with
 * `isRepeated`, has had its effect already.
 */
export async function takeRequestId(
  pool: Pool,
  asked: Asked,
  runId: RunId,
): Promise<{ readonly answer: RunId | Refusal; readonly isRepeated: boolean }> {
  return await withConnection(pool, async (tx) => {
    for (;;) {
      const claimed = await claimRequestIds(tx, [{ ...asked, runId }], await readClock(tx));
      if (claimed.size > 0) return { answer: runId, isRepeated: false };
      const [earlier] = await findRequestIds(tx, [asked]);
      if (earlier !== undefined) return { answer: answerAgain(asked, earlier), isRepeated: true };
    }
  });
}

async function refusalOrValue(create: () => Promise<RunId | Refusal>): Promise<RunId | Refusal> {
  try {
    return await create();
  } catch (error) {
    if (error instanceof RefusedError) return error.refusal;
    throw error;
  }
}
