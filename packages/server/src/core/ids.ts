// Names of things: runs by UUID (version 7), jobs by run and index, attempts by job and number. The text forms of job and
// attempt ids are opaque to users but carry their run, so that a command finds its run without a look-up.

/** A run's id: a UUID in canonical lower-case text. */
export type RunId = string & { readonly __brand: 'RunId' };

/** One job: its run, and its position in the run's definition, from 0. */
export interface JobKey {
  readonly runId: RunId;
  readonly job: number;
}

/** One attempt: its job, and its number from 1, which is also its fence. */
export interface AttemptKey extends JobKey {
  readonly attempt: number;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const INDEX = /^(0|[1-9][0-9]{0,8})$/;
const NUMBER = /^[1-9][0-9]{0,8}$/;

/** Reads a run id; undefined when the text is none. */
export function parseRunId(text: string): RunId | undefined {
  return UUID.test(text) ? (text as RunId) : undefined;
}

/** The text form of a job's id: `<run>.<index>`. */
export function formatJobId(key: JobKey): string {
  return `${key.runId}.${key.job}`;
}

/** Reads a job's id; undefined when the text is none. */
export function parseJobId(text: string): JobKey | undefined {
  const runId = parseRunId(text.slice(0, 36));
  const index = text.slice(37);
  if (runId === undefined || text[36] !== '.' || !INDEX.test(index)) return undefined;
  return { runId, job: Number(index) };
}

/** The text form of an attempt's id: `<run>.<index>.<number>`. */
export function formatAttemptId(key: AttemptKey): string {
  return `${key.runId}.${key.job}.${key.attempt}`;
}

/** Reads an attempt's id; undefined when the text is none. */
export function parseAttemptId(text: string): AttemptKey | undefined {
  const dot = text.lastIndexOf('.');
  const job = parseJobId(text.slice(0, dot));
  const number = text.slice(dot + 1);
  if (job === undefined || !NUMBER.test(number)) return undefined;
  return { ...job, attempt: Number(number) };
}

/**
 * Makes a UUID of version 7 (RFC 9562, section 5.7) from a time and random bytes.
 * @param unixMs Milliseconds since the Unix epoch.
 * @param random At least 10 random bytes.
 */
export function makeRunId(unixMs: number, random: Uint8Array): RunId {
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 6; i++) bytes[i] = Math.floor(unixMs / 2 ** (40 - 8 * i)) & 0xff;
  bytes.set(random.subarray(0, 10), 6);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x70;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => HEX[byte]).join('');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}` as RunId;
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
