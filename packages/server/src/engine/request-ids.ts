// Request ids: for a day, the same id with the same request is answered with the run that it made, and with another one refused.
// That holds whatever became of what the request was about, and of the run itself: a repetition never makes a second one.
import { createHash } from 'node:crypto';
import type { RunId } from '../core/ids.ts';
import { canonicalChunks } from '../core/json.ts';
import { isRefusal, type Refusal, RefusedError } from '../core/refusal.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import { claimRequestIds, findRequestIds, type RequestIdRow } from '../store/run-rows.ts';
import type { CreatedRun } from './created-run.ts';
import type { NewRun } from './engine.ts';

/** What a repeated request id is compared with: everything that was asked for, as it was asked. Comes in slices. */
export function* bodyDigest(verb: string, asked: Partial<NewRun> & object): Generator<undefined, Buffer> {
  const hash = createHash('sha256');
  for (const chunk of canonicalChunks({ verb, ...asked, requestId: undefined, traceparent: undefined })) {
    hash.update(chunk);
    yield;
  }
  return hash.digest();
}

type Asked = Omit<RequestIdRow, 'runId'>;

/** What a request is answered whose id was used before. */
export function answerAgain({ requestId, bodyDigest: digest }: Asked, earlier: RequestIdRow): CreatedRun | Refusal {
  if (Buffer.compare(earlier.bodyDigest, digest) === 0) return { runId: earlier.runId, view: undefined };
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
  create: () => Promise<CreatedRun | Refusal>,
): Promise<CreatedRun | Refusal> {
  const created = await refusalOrValue(create);
  if (!isRefusal(created) || asked === undefined || created.refused === 'DATABASE_UNAVAILABLE') return created;
  const [earlier] = await withConnection(pool, (tx) => findRequestIds(tx, [asked]));
  return earlier === undefined ? created : answerAgain(asked, earlier);
}

/**
 * Takes a request id for something that is done to a run that is there. False: the same request took it before, so it has had its effect.
 * @throws RefusedError REQUEST_ID_REUSED
 */
export async function takeRequestId(pool: Pool, asked: Asked, runId: RunId): Promise<boolean> {
  return await withConnection(pool, async (tx) => {
    for (;;) {
      const claimed = await claimRequestIds(tx, [{ ...asked, runId }]);
      if (claimed.size > 0) return true;
      const [earlier] = await findRequestIds(tx, [asked]);
      // One that was forgotten in between is free.
      if (earlier === undefined) continue;
      const answer = answerAgain(asked, earlier);
      if (isRefusal(answer)) throw new RefusedError(answer);
      return false;
    }
  });
}

async function refusalOrValue(create: () => Promise<CreatedRun | Refusal>): Promise<CreatedRun | Refusal> {
  try {
    return await create();
  } catch (error) {
    if (error instanceof RefusedError) return error.refusal;
    throw error;
  }
}
