// Reads the fields that requests have in common. A wrong id refuses a request at once; everything else that is wrong is collected,
// so that a caller learns all of it.
import { durationMs, type Duration, type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import type { Trigger as TriggerMessage } from '@conveyor/protocol/conveyor/v1/run_pb.js';
import { addViolation, checkText, type Found, quote } from '../core/check-fields.ts';
import { type CheckWork, createCheckWork } from '../core/check-work.ts';
import type { Asker } from '../core/commands.ts';
import type { Trigger } from '../core/events.ts';
import { type JobKey, parseJobId, parseRunId, type RunId } from '../core/ids.ts';
import { invalidFields, RefusedError } from '../core/refusal.ts';
import type { PageRequest } from '../engine/engine.ts';
import { inTurns } from '../engine/pace.ts';
import { decodePageToken } from './page-token.ts';

const DEFAULT_PROJECT = 'default';
const MAX_REASON = 1_024;
const MAX_ACTOR = 256;
/** The first moment of the year 10000, which a Timestamp cannot hold. */
const MAX_TIME_MS = 253_402_300_800_000;
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** Reads a request, then refuses it if anything was found. */
export function decodeRequest<T>(read: (found: Found) => T): T {
  const found: Found = [];
  const value = read(found);
  if (found.length > 0) throw new RefusedError(invalidFields(found));
  return value;
}

/** As decodeRequest, for what takes long to check: others go on in between. */
export async function decodeInTurns<T>(read: (found: Found, work: CheckWork) => Generator<undefined, T>): Promise<T> {
  const found: Found = [];
  const value = await inTurns(read(found, createCheckWork()));
  if (found.length > 0) throw new RefusedError(invalidFields(found));
  return value;
}

/** There is one project so far; any other is one that the token has no access to. */
export function decodeProject(project: string): string {
  if (project === '' || project === DEFAULT_PROJECT) return DEFAULT_PROJECT;
  throw new RefusedError({
    refused: 'TOKEN_FORBIDS',
    message: `the token gives no access to the project ${quote(project)}; leave \`project\` empty for \`${DEFAULT_PROJECT}\``,
  });
}

export function decodeRunId(field: string, text: string): RunId {
  const runId = parseRunId(text);
  if (runId !== undefined) return runId;
  throw invalidId(field, text, 'a run id: a UUID in lower case, as CreateRun answers it');
}

export function decodeJobId(field: string, text: string): JobKey {
  const key = parseJobId(text);
  if (key !== undefined) return key;
  throw invalidId(field, text, 'a job id, as ListJobs answers it');
}

export function decodePage(
  found: Found,
  { pageSize, pageToken }: { readonly pageSize: number; readonly pageToken: string },
  {
    fallback = 100,
    max = 1_000,
    request,
  }: { readonly fallback?: number; readonly max?: number; readonly request: unknown },
): PageRequest {
  if (pageSize < 0) addViolation(found, 'page_size', `must be 1 to ${max}, or 0 for ${fallback}; got ${pageSize}`);
  const after = decodePageToken('page_token', pageToken, request);
  return { size: pageSize === 0 ? fallback : Math.min(pageSize, max), ...(after !== undefined && { after }) };
}

export function decodeTrigger(found: Found, field: string, trigger: TriggerMessage | undefined): Trigger {
  const { kind = '', actor = '', reference = '' } = trigger ?? {};
  checkText(found, `${field}.kind`, kind, 63);
  checkText(found, `${field}.actor`, actor, MAX_ACTOR);
  checkText(found, `${field}.reference`, reference, 2_048);
  return { kind: kind === '' ? 'api' : kind, actor, reference };
}

/** How the request ids of runs begin that the control plane makes by itself: those of calls, and of occurrences of schedules. */
const OWN_REQUESTS = ['call ', 'schedule '];

export function decodeRequestId(found: Found, requestId: string): { requestId?: string } {
  if (requestId === '') return {};
  checkText(found, 'request_id', requestId, 128);
  const own = OWN_REQUESTS.find((prefix) => requestId.startsWith(prefix));
  if (own !== undefined) {
    addViolation(
      found,
      'request_id',
      `must not begin with "${own}": so begin those of runs that the control plane makes`,
    );
  }
  return { requestId };
}

/** Who asks, and why. */
export function decodeAsker(
  found: Found,
  { reason, actor }: { readonly reason: string; readonly actor: string },
): Asker {
  checkText(found, 'reason', reason, MAX_REASON);
  checkText(found, 'actor', actor, MAX_ACTOR);
  return { reason, actor };
}

export function decodeReason(found: Found, reason: string): string {
  checkText(found, 'reason', reason, MAX_REASON);
  return reason;
}

/** An int64 that counts something: 0 or more, and exact as a number. */
export function decodeCount(found: Found, field: string, value: bigint): number {
  const count = Number(value);
  if (count < 0 || !Number.isSafeInteger(count)) addViolation(found, field, `must be 0 or more; got ${value}`);
  return count;
}

/** The `seq` of an event, which a run must have; 0 means that it was not set. */
export function decodeSeq(found: Found, field: string, value: bigint): number | undefined {
  const seq = Number(value);
  if (seq < 0 || !Number.isSafeInteger(seq)) {
    addViolation(found, field, `must be from 1 to the \`seq\` of the run's newest event; got ${value}`);
  }
  return seq === 0 ? undefined : seq;
}

/** An int32 that numbers something from 1; 0 means that it was not set. */
export function decodeNumber(found: Found, field: string, value: number): number | undefined {
  if (value < 0) addViolation(found, field, `must be 1 or more, or left out; got ${value}`);
  return value === 0 ? undefined : value;
}

export function decodeDuration(duration: Duration | undefined): number | undefined {
  return duration === undefined ? undefined : durationMs(duration);
}

/** A point in time in whole milliseconds, from 1970 to 9999; a fraction of one counts as one. */
export function decodeTime(found: Found, field: string, time: Timestamp | undefined): number | undefined {
  if (time === undefined) return undefined;
  const ms = timestampMs(time);
  if (ms >= 0 && ms < MAX_TIME_MS) return ms;
  addViolation(found, field, 'must be a time from the year 1970 to 9999');
  return undefined;
}

/** The W3C trace context of a call, if it carries a well-formed one. */
export function decodeTraceparent(headers: Headers): { traceparent?: string } {
  const traceparent = headers.get('traceparent');
  return traceparent !== null && TRACEPARENT.test(traceparent) ? { traceparent } : {};
}

function invalidId(field: string, text: string, rule: string): RefusedError {
  const description = text === '' ? `is required: ${rule}` : `must be ${rule}; got ${quote(text)}`;
  return new RefusedError(invalidFields([{ field, description }]));
}
