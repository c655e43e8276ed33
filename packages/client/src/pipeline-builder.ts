// Owns pipelines written as programs. A builder never changes: each job makes a new one, so a pipeline can be the beginning
// of several. A job can only need jobs that were added before, so there is no cycle by construction.
import { type JsonObject, type MessageInitShape, create } from '@bufbuild/protobuf';
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
import { type DurationText, parseDurations } from './duration.ts';
import { type ConcurrencyOptions, type RateLimitOptions, toConcurrency, toRateLimit } from './job-limits.ts';
import { type CallFields, type GateFields, type MatrixOptions, toGate, toMatrix, toPipelineCall } from './job-kinds.ts';

/** What all jobs of a pipeline share. */
export interface PipelineOptions<Stage extends string = string> {
  /** JSON Schema (2020-12) of the params; defaults in it are filled in. Default: any object. */
  readonly paramsSchema?: JsonObject | undefined;
  /** Labels that each run gets. Default: none. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Stages, in order: each job of one needs every job of the nearest stage before it that has any. Default: none. */
  readonly stages?: readonly Stage[] | undefined;
  /** Named values for its expressions, which read them as `env.NAME`. Default: none. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** When true, the first job whose failure counts stops the others, but those that run `always` or `finally`. Default: false. */
  readonly failFast?: boolean | undefined;
}

/** What every job may have, whoever runs it. */
export interface AnyJobOptions<Need extends string, Stage extends string = string> {
  /** Jobs that must have finished before; each must have been added before. Default: none. */
  readonly needs?: readonly Need[] | undefined;
  /**
   * When it runs, once its needs have finished: when all succeeded, whatever came of them, when one failed, or after every other job of
   * the run. Default: `success`.
   */
  readonly when?: 'success' | 'always' | 'failure' | 'finally' | undefined;
  /** A condition beside `when`, in CEL: the job is skipped when it is false. Default: none. */
  readonly if?: string | undefined;
  /** The stage that it belongs to. Default: none. */
  readonly stage?: Stage | undefined;
  /** Makes it a job for each cell of a matrix. Default: one job. */
  readonly matrix?: MatrixOptions | undefined;
  /** When true, its failure counts as success for what depends on it. Default: false. */
  readonly allowFailure?: boolean | undefined;
}

/** A gate, which people answer. */
export interface GateOptions<Need extends string, Stage extends string = string>
  extends AnyJobOptions<Need, Stage>,
    GateFields {}

/** A call of another pipeline, whose run it waits for. */
export interface PipelineCallOptions<Need extends string, Stage extends string = string>
  extends AnyJobOptions<Need, Stage>,
    CallFields {}

/** A job that a driver executes. Names and defaults are those of the contract's JobDefinition. */
export interface JobOptions<Need extends string, Stage extends string = string> extends AnyJobOptions<Need, Stage> {
  /** The driver that executes it. */
  readonly driver: string;
  /** What it shall do, in the driver's own words; texts may hold expressions, as `${{ needs.build.outputs.image }}`. Default: {}. */
  readonly spec?: JsonObject | undefined;
  /** Retries by class of failure, and their delays. Default: the server's. */
  readonly retry?: RetryOptions | undefined;
  /** How long each phase may last. Default: the server's. */
  readonly timeouts?: TimeoutOptions | undefined;
  /** What the driver does when its lease runs out unanswered. Default: `continue`. */
  readonly onLeaseDoubt?: 'continue' | 'stop' | undefined;
  /** Names of secrets that it gets. Default: none. */
  readonly secrets?: readonly string[] | undefined;
  /** JSON Schema (2020-12) of its outputs: an attempt whose outputs do not fit is no success. Default: any object. */
  readonly outputsSchema?: JsonObject | undefined;
  /** The group of jobs that it is one of, of which few may go on at the same time. Default: none. */
  readonly concurrency?: ConcurrencyOptions | undefined;
  /** How often jobs may start that share a key. Default: none. */
  readonly rateLimits?: readonly RateLimitOptions[] | undefined;
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

/**
 * A pipeline under construction; also what `client.pipelines.apply` and `client.runs.create` take. A need that no earlier job has, a
 * name that one has, or a stage that the pipeline does not have, is a compile-time error where names are literal; it throws a TypeError
 * wherever they are not.
 */
export interface PipelineBuilder<Jobs extends string, Stage extends string = string> {
  readonly name: string;
  /** The definition as it stands. */
  readonly definition: PipelineDefinition;
  /** Adds a job that a driver executes. */
  job<const Name extends string>(
    name: NewName<Name, Jobs>,
    options: JobOptions<Jobs, Stage>,
  ): PipelineBuilder<Jobs | Name, Stage>;
  /** Adds a job that waits until people approve or reject it. */
  gate<const Name extends string>(
    name: NewName<Name, Jobs>,
    options?: GateOptions<Jobs, Stage>,
  ): PipelineBuilder<Jobs | Name, Stage>;
  /** Adds a job that makes a run of another pipeline, and ends as that ends. */
  call<const Name extends string>(
    name: NewName<Name, Jobs>,
    options: PipelineCallOptions<Jobs, Stage>,
  ): PipelineBuilder<Jobs | Name, Stage>;
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
 * const release = pipeline('release', { stages: ['test', 'ship'] })
 *   .job('test', {
 *     driver: 'shell',
 *     stage: 'test',
 *     spec: { command: 'make test NODE=${{ matrix.node }}' },
 *     matrix: { axes: { node: [22, 24] }, maxParallel: 1 },
 *   })
 *   .gate('approve', { stage: 'ship', if: "params.target == 'production'", message: 'Ship it?', quorum: 2 })
 *   .call('deploy', { needs: ['approve'], stage: 'ship', pipeline: 'deploy', params: { target: '${{ params.target }}' } })
 *   .job('clean', { driver: 'shell', spec: { command: 'make clean' }, when: 'finally' });
 *
 * @example
 * // Names that are only known at run time.
 * let fanOut = pipeline<string>('fan-out').job('plan', { driver: 'shell' });
 * for (const part of parts) fanOut = fanOut.job(part, { driver: 'shell', needs: ['plan'] });
 */
export function pipeline<Jobs extends string = never, const Stage extends string = Jobs>(
  name: string,
  options: PipelineOptions<Stage> = {},
): PipelineBuilder<Jobs, Stage> {
  return builder(name, options, []);
}

function builder<Jobs extends string, Stage extends string>(
  name: string,
  options: PipelineOptions<Stage>,
  jobs: readonly JobDefinition[],
): PipelineBuilder<Jobs, Stage> {
  const withJob = (jobName: string, jobOptions: AnyJobOptions<string>, own: JobFields): readonly JobDefinition[] => {
    if (jobs.some((job) => job.name === jobName)) throw new TypeError(`pipeline ${name} already has a job ${jobName}`);
    for (const need of jobOptions.needs ?? []) {
      if (!jobs.some((job) => job.name === need)) {
        throw new TypeError(`job ${jobName} of pipeline ${name} needs ${need}, which no job before it is called`);
      }
    }
    const { stage } = jobOptions;
    if (stage !== undefined && !options.stages?.some((known) => known === stage))
      throw new TypeError(`job ${jobName} is of stage ${stage}, which pipeline ${name} does not have`);
    return [...jobs, toJobDefinition(jobName, jobOptions, own)];
  };
  return {
    name,
    get definition() {
      return create(PipelineDefinitionSchema, {
        jobs: [...jobs],
        ...(options.paramsSchema === undefined ? {} : { paramsSchema: options.paramsSchema }),
        labels: { ...options.labels },
        stages: [...(options.stages ?? [])],
        env: { ...options.env },
        failFast: options.failFast ?? false,
      });
    },
    job: (jobName, jobOptions) => builder(name, options, withJob(jobName, jobOptions, drivenFields(jobOptions))),
    gate: (jobName, jobOptions = {}) =>
      builder(name, options, withJob(jobName, jobOptions, { gate: toGate(jobOptions) })),
    call: (jobName, jobOptions) =>
      builder(name, options, withJob(jobName, jobOptions, { call: toPipelineCall(jobOptions) })),
  };
}

type JobFields = MessageInitShape<typeof JobDefinitionSchema>;

function toJobDefinition(name: string, options: AnyJobOptions<string>, own: JobFields): JobDefinition {
  return create(JobDefinitionSchema, {
    name,
    needs: [...(options.needs ?? [])],
    allowFailure: options.allowFailure ?? false,
    when: options.when === undefined ? RunCondition.UNSPECIFIED : conditions[options.when],
    if: options.if ?? '',
    stage: options.stage ?? '',
    ...(options.matrix === undefined ? {} : { matrix: toMatrix(options.matrix) }),
    ...own,
  });
}

/** What only a job that a driver executes has. */
function drivenFields(options: JobOptions<string>): JobFields {
  return {
    driver: options.driver,
    secrets: [...(options.secrets ?? [])],
    onLeaseDoubt: options.onLeaseDoubt === undefined ? LeaseDoubt.UNSPECIFIED : leaseDoubts[options.onLeaseDoubt],
    ...(options.spec === undefined ? {} : { spec: options.spec }),
    ...(options.outputsSchema === undefined ? {} : { outputsSchema: options.outputsSchema }),
    ...(options.concurrency === undefined ? {} : { concurrency: toConcurrency(options.concurrency) }),
    rateLimits: (options.rateLimits ?? []).map(toRateLimit),
    ...(options.retry === undefined ? {} : { retry: toRetryPolicy(options.retry) }),
    ...(options.timeouts === undefined ? {} : { timeouts: toTimeouts(options.timeouts) }),
  };
}

function toRetryPolicy({ initialBackoff, maxBackoff, ...counts }: RetryOptions): RetryPolicy {
  return create(RetryPolicySchema, { ...counts, ...parseDurations({ initialBackoff, maxBackoff }) });
}

function toTimeouts(timeouts: TimeoutOptions): JobTimeouts {
  return create(JobTimeoutsSchema, parseDurations({ ...timeouts }));
}

const conditions = {
  success: RunCondition.SUCCESS,
  always: RunCondition.ALWAYS,
  failure: RunCondition.FAILURE,
  finally: RunCondition.FINALLY,
};
const leaseDoubts = { continue: LeaseDoubt.CONTINUE, stop: LeaseDoubt.STOP };
