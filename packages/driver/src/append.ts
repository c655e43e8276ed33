// Owns how work appends jobs to its own run: one request at a time, said again until it is answered. What the run has already is not
// appended again, so the repetition has no second effect.
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type AppendAnswer, AppendJobsSchema } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { ErrorReason } from '@conveyor/protocol/conveyor/v1/error_pb.js';
import type { JobDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import type { Attempt } from './attempt.ts';
import { misshapen } from './append-shape.ts';
import { type AttemptKey, type Frame, frame } from './frames.ts';

/** A job as a definition has it. */
export type JobInit = MessageInitShape<typeof JobDefinitionSchema>;

/**
 * Why nothing was appended:
 * - `INVALID_FIELD`: the control plane cannot take these jobs, as `violations` tell;
 * - `CANCEL_REQUESTED`: the run is being cancelled, although this job goes on;
 * - `UNSUPPORTED`: the control plane does not know appended jobs, or not yet all of its replicas do.
 */
export type AppendReason = 'INVALID_FIELD' | 'CANCEL_REQUESTED' | 'UNSUPPORTED';

/** What is wrong with one field of appended jobs. */
export interface AppendViolation {
  /** Such as `jobs[2].needs[0]`. */
  readonly field: string;
  /** What is wrong with it and what to do. */
  readonly description: string;
}

/** Jobs were not appended, none of them. */
export class AppendError extends Error {
  override readonly name = 'AppendError';
  readonly reason: AppendReason;
  /** All that is wrong with the jobs. */
  readonly violations: readonly AppendViolation[];

  constructor(reason: AppendReason, message: string, violations: readonly AppendViolation[] = []) {
    super(message);
    this.reason = reason;
    this.violations = violations;
  }
}

export type Append = (jobs: readonly JobInit[]) => Promise<void>;

/** What one message to the control plane carries, but for what frames it. */
const maxAppendBytes = 1_048_576 - 1_024;

/** How an attempt appends. @param isSupported Whether the control plane takes appended jobs, as far as is known. */
export function createAppend(attempt: Attempt, isSupported: () => boolean): Append {
  let number = 0;
  let last: Promise<unknown> = Promise.resolve();

  async function ask(asked: number, said: Frame): Promise<AppendAnswer> {
    if (!isSupported()) throw appendUnsupported();
    return await attempt.appends.ask(asked, said);
  }

  return async (jobs) => {
    const asked = ++number;
    const said = appendFrame(attempt, asked, jobs);
    const answered = last.then(() => ask(asked, said));
    last = answered.catch(() => undefined);
    const { error, message, violations } = await answered;
    if (error === ErrorReason.UNSPECIFIED) return;
    if (error === ErrorReason.CANCEL_REQUESTED && attempt.stop.reason !== undefined) throw attempt.stop.reason;
    throw new AppendError(
      reasons[error] ?? 'UNSUPPORTED',
      message,
      violations.map(({ field, description }) => ({ field, description })),
    );
  };
}

/** Why nothing that is to be appended is answered. */
export function appendUnsupported(): AppendError {
  return new AppendError(
    'UNSUPPORTED',
    'the control plane does not take jobs that a job appends, or not yet all of its replicas do',
  );
}

const reasons: { readonly [error in ErrorReason]?: AppendReason } = {
  [ErrorReason.INVALID_FIELD]: 'INVALID_FIELD',
  [ErrorReason.CANCEL_REQUESTED]: 'CANCEL_REQUESTED',
};

function appendFrame({ id, fence }: AttemptKey, number: number, jobs: readonly JobInit[]): Frame {
  const bytes = encoded({ attemptId: id, fence, number, jobs });
  const { length } = bytes;
  if (length > maxAppendBytes) {
    throw new RangeError(
      `the jobs have ${length} bytes, at most ${maxAppendBytes} at a time: append some of them later`,
    );
  }
  // A copy: what is said again must be the same, whatever becomes of the caller's own.
  return frame({ case: 'appendJobs', value: fromBinary(AppendJobsSchema, bytes) }, length);
}

function encoded({ jobs, ...rest }: AttemptFields & { readonly jobs: readonly JobInit[] }): Uint8Array {
  const problems = misshapen(jobs);
  if (problems.length > 0) throw new RangeError(problems.join('\n'));
  try {
    return toBinary(AppendJobsSchema, create(AppendJobsSchema, { ...rest, jobs: [...jobs] }));
  } catch (cause) {
    // Such as numbers out of range.
    throw new RangeError(`jobs: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

interface AttemptFields {
  readonly attemptId: string;
  readonly fence: number;
  readonly number: number;
}
