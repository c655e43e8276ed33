// Owns pipelines written as programs. A builder never changes: each job makes a new one, so a pipeline can be the beginning
// of several. A job can only need jobs that were added before, so there is no cycle by construction.
import { type JsonObject, create } from '@bufbuild/protobuf';
import type { Duration } from '@bufbuild/protobuf/wkt';
import {
  type JobDefinition,
  JobDefinitionSchema,
  type JobTimeouts,
  JobTimeoutsSchema,
  LeaseDoubt,
  type PipelineDefinition,
  PipelineDefinitionSchema,
  type RetryPolicy,
  RetryPolicySchema,
  RunCondition,
} from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { type DurationText, parseDuration } from './duration.ts';

/** What all jobs of a pipeline share. */
export interface PipelineOptions {
  /** JSON Schema (2020-12) of the params; defaults in it are filled in. Default: any object. */
  readonly paramsSchema?: JsonObject | undefined;
  /** Labels that each run gets. Default: none. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

/** One job. Names and defaults are those of the contract's JobDefinition. */
export interface JobOptions<Need extends string> {
  /** The driver that executes it. */
  readonly driver: string;
  /** What it shall do, in the driver's own words. Default: {}. */
  readonly spec?: JsonObject | undefined;
  /** Jobs that must have finished before; each must have been added before. Default: none. */
  readonly needs?: readonly Need[] | undefined;
  /** When it runs, once its needs have finished: when all succeeded, or whatever came of them. Default: `success`. */
  readonly when?: 'success' | 'always' | undefined;
  /** Retries by class of failure, and their delays. Default: the server's. */
  readonly retry?: RetryOptions | undefined;
  /** How long each phase may last. Default: the server's. */
  readonly timeouts?: TimeoutOptions | undefined;
  /** What the driver does when its lease runs out unanswered. Default: `continue`. */
  readonly onLeaseDoubt?: 'continue' | 'stop' | undefined;
  /** When true, its failure counts as success for what depends on it. Default: false. */
  readonly allowFailure?: boolean | undefined;
  /** Names of secrets that it gets. Default: none. */
  readonly secrets?: readonly string[] | undefined;
  /** JSON Schema (2020-12) of its outputs: an attempt whose outputs do not fit is no success. Default: any object. */
  readonly outputsSchema?: JsonObject | undefined;
}

/** Retries by class of failure, and the delays between them. Bounds and defaults are those of the contract's RetryPolicy. */
export interface RetryOptions {
  /** After the workload itself failed. Default: 0. */
  readonly workload?: number;
  /** After the driver reported a fault of its own. Default: 2. */
  readonly driver?: number;
  /** After a lease was lost. Default: 3. */
  readonly infrastructure?: number;
  /** After the run or silence timeout. Default: 0. */
  readonly timeout?: number;
  /** Offers beyond the first that may be rejected or expire. Default: 100. */
  readonly rejected?: number;
  /** The first delay. Default: `1s`. */
  readonly initialBackoff?: DurationText;
  /** The longest delay. Default: `5m`. */
  readonly maxBackoff?: DurationText;
  /** The growth of each delay over the last. Default: 2. */
  readonly backoffFactor?: number;
  /** The random part of a delay, 0 to 1. Default: 0.2. */
  readonly jitter?: number;
}

/** How long the phases of a job may last; one that is not given has no limit, unless said otherwise. */
export interface TimeoutOptions {
  /** From queued to started, over all offers. */
  readonly queueTimeout?: DurationText;
  /** From an offer to its accept. Default: `15s`. */
  readonly offerTimeout?: DurationText;
  /** From the start of an attempt to its end. */
  readonly runTimeout?: DurationText;
  /** How long a running attempt may go without being heard of: no log, output, progress or other report. At least `1s`. */
  readonly silenceTimeout?: DurationText;
  /** From the moment the job could first run to its conclusion. */
  readonly totalTimeout?: DurationText;
  /** From a soft cancel to the kill, and from the kill to the end. Default: `10s`. */
  readonly cancelGracePeriod?: DurationText;
}

/** A pipeline under construction; also what `client.pipelines.apply` and `client.runs.create` take. */
export interface PipelineBuilder<Jobs extends string> {
  readonly name: string;
  /** The definition as it stands. */
  readonly definition: PipelineDefinition;
  /**
   * Adds a job. A need that no earlier job has, or a name that one has, is a compile-time error where names are literal;
   * it throws a TypeError wherever they are not.
   */
  job<const Name extends string>(name: NewName<Name, Jobs>, options: JobOptions<Jobs>): PipelineBuilder<Jobs | Name>;
}

/** `Name`, unless a job has it; names that are only known as strings are left to the check at run time. */
type NewName<Name extends string, Jobs extends string> = string extends Jobs ? Name : Name extends Jobs ? never : Name;

/**
 * Begins a pipeline.
 *
 * @example
 * const ci = pipeline('ci')
 *   .job('build', { driver: 'shell', spec: { command: 'make' } })
 *   .job('test', { driver: 'shell', spec: { command: 'make test' }, needs: ['build'], timeouts: { runTimeout: '10m' } });
 * await client.pipelines.apply(ci);
 *
 * @example
 * // Names that are only known at run time.
 * let fanOut = pipeline<string>('fan-out').job('plan', { driver: 'shell' });
 * for (const part of parts) fanOut = fanOut.job(part, { driver: 'shell', needs: ['plan'] });
 */
export function pipeline<Jobs extends string = never>(
  name: string,
  options: PipelineOptions = {},
): PipelineBuilder<Jobs> {
  return builder(name, options, []);
}

function builder<Jobs extends string>(
  name: string,
  options: PipelineOptions,
  jobs: readonly JobDefinition[],
): PipelineBuilder<Jobs> {
  return {
    name,
    get definition() {
      return create(PipelineDefinitionSchema, {
        jobs: [...jobs],
        ...(options.paramsSchema === undefined ? {} : { paramsSchema: options.paramsSchema }),
        labels: { ...options.labels },
      });
    },
    job(jobName, jobOptions) {
      if (jobs.some((job) => job.name === jobName))
        throw new TypeError(`pipeline ${name} already has a job ${jobName}`);
      for (const need of jobOptions.needs ?? []) {
        if (!jobs.some((job) => job.name === need)) {
          throw new TypeError(`job ${jobName} of pipeline ${name} needs ${need}, which no job before it is called`);
        }
      }
      return builder(name, options, [...jobs, toJobDefinition(jobName, jobOptions)]);
    },
  };
}

function toJobDefinition(name: string, options: JobOptions<string>): JobDefinition {
  return create(JobDefinitionSchema, {
    name,
    driver: options.driver,
    needs: [...(options.needs ?? [])],
    secrets: [...(options.secrets ?? [])],
    allowFailure: options.allowFailure ?? false,
    when: options.when === undefined ? RunCondition.UNSPECIFIED : conditions[options.when],
    onLeaseDoubt: options.onLeaseDoubt === undefined ? LeaseDoubt.UNSPECIFIED : leaseDoubts[options.onLeaseDoubt],
    ...(options.spec === undefined ? {} : { spec: options.spec }),
    ...(options.outputsSchema === undefined ? {} : { outputsSchema: options.outputsSchema }),
    ...(options.retry === undefined ? {} : { retry: toRetryPolicy(options.retry) }),
    ...(options.timeouts === undefined ? {} : { timeouts: toTimeouts(options.timeouts) }),
  });
}

function toRetryPolicy({ initialBackoff, maxBackoff, ...counts }: RetryOptions): RetryPolicy {
  return create(RetryPolicySchema, { ...counts, ...durations({ initialBackoff, maxBackoff }) });
}

function toTimeouts(timeouts: TimeoutOptions): JobTimeouts {
  return create(JobTimeoutsSchema, durations({ ...timeouts }));
}

function durations<Key extends string>(
  texts: { readonly [K in Key]?: DurationText | undefined },
): {
  [K in Key]?: Duration;
} {
  const read: { [K in Key]?: Duration } = {};
  for (const key in texts) {
    const text = texts[key];
    if (text === undefined) continue;
    const duration = parseDuration(text);
    if (duration === undefined) throw new TypeError(`${key}: '${text}' is no duration; write one such as 10m`);
    read[key] = duration;
  }
  return read;
}

const conditions = { success: RunCondition.SUCCESS, always: RunCondition.ALWAYS };
const leaseDoubts = { continue: LeaseDoubt.CONTINUE, stop: LeaseDoubt.STOP };
