// Owns what a driver's work sees of its job, and the bounds of what it may say. Nothing here knows a connection.
import { type JsonObject, type JsonValue, toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import type { Start } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { AnnotationLevel, JobState, ProgressPhase } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { type Append, createAppend, type JobInit } from './append.ts';
import type { Attempt } from './attempt.ts';
import { assertKey, assertLevels, assertNoNul, maxJsonBytes } from './job-json.ts';
import { createJobLog, type JobLog } from './job-log.ts';
import { createRunValues, type RunValues } from './run-values.ts';
import { annotationFrame, checkpointFrame, outputFrame, progressFrame, type Capability } from './frames.ts';
import { assertArtifact, type JobArtifact, sayArtifact } from './artifact.ts';

/** Which job this is, and which try of it. */
export interface JobIdentity {
  readonly project: string;
  readonly runId: string;
  readonly jobId: string;
  /** Its name in the pipeline. */
  readonly name: string;
  /** The pipeline's name; empty for a run of an inline definition. */
  readonly pipeline: string;
  readonly attemptId: string;
  /** The try's number, from 1. */
  readonly attempt: number;
  /** W3C `traceparent` of the call that created the run; may be empty. */
  readonly traceparent: string;
}

/** A job that this one needed. */
export interface NeededJob {
  readonly state: 'SUCCEEDED' | 'FAILED' | 'SKIPPED' | 'CANCELLED';
  readonly outputs: Readonly<Record<string, JsonValue>>;
}

/** How far the work is. */
export interface JobProgress {
  /** Making ready, or running the workload. Default: `running`. */
  readonly phase?: 'preparing' | 'running';
  /** For people to read; cut at 1 KiB. Default: none. */
  readonly message?: string;
  /** From 0 to 1. Default: unknown. */
  readonly fraction?: number;
}

/** What belongs to an annotation beside its text. */
export interface AnnotationOptions {
  /** How urgent it is. Default: `info`. */
  readonly level?: 'info' | 'warning' | 'error';
  /** Where to read more, at most 2,048 characters. Default: nowhere. */
  readonly link?: string;
}

/** What a driver's work is given. Valid until the work ends; what is said later is dropped. */
export interface JobContext<Spec = JsonObject> {
  readonly job: JobIdentity;
  /** What to do. The control plane has checked it against the driver's `specSchema`. */
  readonly spec: Spec;
  /** The run's params. */
  readonly params: JsonObject;
  /** The jobs that this one needed, by name. */
  readonly needs: Readonly<Record<string, NeededJob>>;
  /** Secrets that the job asked for, by name. Never to be written to logs, outputs or disks. */
  readonly secrets: Readonly<Record<string, string>>;
  readonly log: JobLog;
  /** Aborts when the work shall stop and clean up; the reason is a `JobStopped`. */
  readonly signal: AbortSignal;
  /** Aborts when the work shall end at once, cleaned up or not; the reason is a `JobStopped`. */
  readonly killed: AbortSignal;
  /**
   * Sets one output, in place of an earlier one of the same key: 1 to 128 characters of `A-Z a-z 0-9 . _ -`. Outputs become
   * part of the result however the work ends. Throws a RangeError when all outputs would be more than 64 KiB as JSON, for
   * more than 25 lists and objects inside of each other, for another key, and for text with NUL.
   */
  readonly output: (key: string, value: JsonValue) => void;
  /** Says how far the work is. Only the latest counts; some may be dropped. */
  readonly progress: (progress: JobProgress) => void;
  /** Notes something for people, cut at 4 KiB. Annotations of the attempt past the 100th are dropped. */
  readonly annotate: (text: string, options?: AnnotationOptions) => void;
  /**
   * Notes where the work lives, in place of an earlier note: if this process dies and one with the same instance id starts,
   * its `adopt` is given the latest that became durable. Throws a RangeError past 4 KiB.
   */
  readonly checkpoint: (handle: string | Uint8Array) => void;
  /**
   * Declares something that the work made and that is kept elsewhere; what is declared cannot be taken back. Throws a RangeError for what is
   * out of bounds and past the 1,000th of the attempt, and an Error when the control plane does not know artifacts, or not yet all of its
   * replicas do.
   */
  readonly artifact: (artifact: JobArtifact) => void;
  /** The values of the run, shared with its other jobs and its platform, with compare-and-set. */
  readonly values: RunValues;
  /**
   * Appends jobs to the run, all or none; resolves once they are durable. They may need each other and jobs of the run, by name; those that
   * the run has already as they are stay as they are, so work that is tried again may append the same again. Waits for the control plane,
   * over reconnects. Rejects with an AppendError; with a JobStopped when the work is to end; with a RangeError for more than a message of
   * 1 MiB holds.
   */
  readonly append: (jobs: readonly JobInit[]) => Promise<void>;
}

const maxAnnotations = 100;
const maxCheckpointBytes = 4 * 1024;

/** Whether the control plane has an ability, as far as is known. */
export type Supports = (capability: Capability) => boolean;

/** The context of an attempt that `start` lets run. */
export function createJobContext<Spec>(attempt: Attempt, start: Start, supports: Supports): JobContext<Spec> {
  return new AttemptContext<Spec>(attempt, start, supports);
}

/** Most work uses little of this, so what costs something is made when it is asked for. All of it may be destructured. */
class AttemptContext<Spec> implements JobContext<Spec> {
  readonly #attempt: Attempt;
  readonly #start: Start;
  #job: JobIdentity | undefined;
  #needs: Readonly<Record<string, NeededJob>> | undefined;
  #log: JobLog | undefined;
  #outputBytes: Map<string, number> | undefined;
  #annotations: number;
  #values: RunValues | undefined;
  #append: Append | undefined;
  readonly #supports: Supports;
  #artifacts: number;

  constructor(attempt: Attempt, start: Start, supports: Supports) {
    this.#attempt = attempt;
    this.#start = start;
    this.#supports = supports;
    this.#artifacts = start.artifacts;
    this.#annotations = start.annotations;
  }

  get job(): JobIdentity {
    const { project, runId, jobId, job: name, pipeline, attemptId, fence: number, traceparent } = this.#attempt.offer;
    this.#job ??= { project, runId, jobId, name, pipeline, attemptId, attempt: number, traceparent };
    return this.#job;
  }

  get spec(): Spec {
    // The control plane checked it against the driver's schema.
    return (this.#attempt.offer.spec ?? {}) as Spec;
  }

  get params(): JsonObject {
    return this.#attempt.offer.params ?? {};
  }

  get needs(): Readonly<Record<string, NeededJob>> {
    this.#needs ??= decodeNeeds(this.#start.needs);
    return this.#needs;
  }

  get secrets(): Readonly<Record<string, string>> {
    return this.#start.secrets;
  }

  get signal(): AbortSignal {
    return this.#attempt.stop.soft;
  }

  get killed(): AbortSignal {
    return this.#attempt.stop.kill;
  }

  get log(): JobLog {
    this.#log ??= createJobLog(this.#attempt, Number(this.#start.logOffset));
    return this.#log;
  }

  get values(): RunValues {
    this.#values ??= createRunValues(this.#attempt, this.#start, () => this.#supports('values'));
    return this.#values;
  }

  get append(): Append {
    this.#append ??= createAppend(this.#attempt, () => this.#supports('append_jobs'));
    return this.#append;
  }

  readonly output = (key: string, value: JsonValue): void => {
    assertKey('output', key);
    const json = JSON.stringify({ [key]: value });
    assertLevels(`output ${key}`, value);
    assertNoNul(`output ${key}`, json);
    const sizes = (this.#outputBytes ??= new Map());
    let bytes = Buffer.byteLength(json) - (sizes.get(key) ?? 0);
    for (const size of sizes.values()) bytes += size;
    if (bytes > maxJsonBytes) throw new RangeError(`outputs are ${bytes} bytes as JSON, at most ${maxJsonBytes}`);
    sizes.set(key, Buffer.byteLength(json));
    this.#attempt.report(`output ${key}`, outputFrame(this.#attempt, key, value));
  };

  readonly progress = ({ phase = 'running', message = '', fraction }: JobProgress): void => {
    if (fraction !== undefined && !(fraction >= 0 && fraction <= 1)) {
      throw new RangeError(`fraction ${fraction} is not from 0 to 1`);
    }
    this.#attempt.report('progress', progressFrame(this.#attempt, progressPhases[phase], message, fraction));
  };

  readonly annotate = (text: string, { level = 'info', link = '' }: AnnotationOptions = {}): void => {
    if (link.length > 2048) throw new RangeError(`the link has ${link.length} characters, at most 2,048`);
    if (this.#annotations >= maxAnnotations) return;
    const number = ++this.#annotations;
    const frame = annotationFrame(this.#attempt, number, annotationLevels[level], text, link);
    this.#attempt.report(`annotation ${number}`, frame);
  };

  readonly artifact = (artifact: JobArtifact): void => {
    assertArtifact(artifact);
    if (!this.#supports('artifacts')) {
      throw new Error('the control plane does not know artifacts, or not yet all of its replicas do');
    }
    sayArtifact(this.#attempt, this.#artifacts + 1, artifact);
    this.#artifacts++;
  };

  readonly checkpoint = (handle: string | Uint8Array): void => {
    const bytes = Buffer.from(handle);
    if (bytes.length > maxCheckpointBytes) {
      throw new RangeError(`the checkpoint has ${bytes.length} bytes, at most ${maxCheckpointBytes}`);
    }
    this.#attempt.report('checkpoint', checkpointFrame(this.#attempt, bytes));
  };
}

const progressPhases = { preparing: ProgressPhase.PREPARING, running: ProgressPhase.RUNNING };
const annotationLevels = {
  info: AnnotationLevel.INFO,
  warning: AnnotationLevel.WARNING,
  error: AnnotationLevel.ERROR,
};

function decodeNeeds(needs: Start['needs']): Readonly<Record<string, NeededJob>> {
  // fromEntries, since a key may be any name, `__proto__` too.
  return Object.fromEntries(
    Object.entries(needs).map(([name, { state, values }]) => [
      name,
      {
        state: finishedState(state),
        outputs: Object.fromEntries(Object.entries(values).map(([key, value]) => [key, toJson(ValueSchema, value)])),
      },
    ]),
  );
}

/** A job starts only when what it needs has finished; a state that this version does not know is not success. */
function finishedState(state: JobState): NeededJob['state'] {
  if (state === JobState.SUCCEEDED) return 'SUCCEEDED';
  if (state === JobState.SKIPPED) return 'SKIPPED';
  if (state === JobState.CANCELLED) return 'CANCELLED';
  return 'FAILED';
}
