// Owns pipelines written as programs. A builder never changes: each job makes a new one, so a pipeline can be the beginning
// of several. A job can only need jobs that were added before, so there is no cycle by construction.
import { type JsonObject, create } from '@bufbuild/protobuf';
import {
  GateSchema,
  type JobDefinition,
  JobDefinitionSchema,
  type PipelineDefinition,
  PipelineDefinitionSchema,
  PipelineCallSchema,
} from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import type { DurationText } from './duration.ts';
import type { ConcurrencyOptions, RateLimitOptions } from './job-limits.ts';
import type { CallFields, GateFields, MatrixOptions } from './job-kinds.ts';
import type { SelectorOptions } from './job-places.ts';
import { fieldNames, readOptions, refuseUnknown } from './read-options.ts';

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
  /** Which instances of its driver may take it, and which of those should, by their labels. Default: any. */
  readonly selector?: SelectorOptions | undefined;
  /** Its place among the queued jobs of the same pipeline, -100 to 100; higher ones first. Default: 0. */
  readonly priority?: number | undefined;
  /** A pool of slots of which it takes one, such as `gpu`, beside one of the instance's own. Default: none. */
  readonly pool?: string | undefined;
  /** Jobs of one project with the same key go to the instance that took the last one, when it has a slot soon. Default: none. */
  readonly stickyKey?: string | undefined;
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
 * name that one has, or a stage that the pipeline does not have, is a compile-time error where names are literal. Where they are not, and
 * for fields and values that the contract does not have, a TypeError tells all that is wrong with the job, one problem a line.
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
  return builder(name, readShared(name, options), []);
}

function builder<Jobs extends string, Stage extends string>(
  name: string,
  shared: PipelineDefinition,
  jobs: readonly JobDefinition[],
): PipelineBuilder<Jobs, Stage> {
  const withJob = (jobName: string, options: object, kind: JobKind): readonly JobDefinition[] => {
    const problems: string[] = [];
    const job = readJob(jobName, options, kind, problems);
    const wrong = [
      ...misplaced(name, shared.stages, jobs, jobName, options),
      ...problems.map((problem) => `job ${jobName} of pipeline ${name}: ${problem}`),
    ];
    if (job === undefined || wrong.length > 0) throw new TypeError(wrong.join('\n'));
    return [...jobs, job];
  };
  return {
    name,
    get definition() {
      return create(PipelineDefinitionSchema, { ...shared, jobs: [...jobs] });
    },
    job: (jobName, options) => builder(name, shared, withJob(jobName, options, 'driven')),
    gate: (jobName, options = {}) => builder(name, shared, withJob(jobName, options, 'gate')),
    call: (jobName, options) => builder(name, shared, withJob(jobName, options, 'call')),
  };
}

function readShared(name: string, options: object): PipelineDefinition {
  const problems: string[] = [];
  const known = fieldNames(PipelineDefinitionSchema).filter((field) => field !== 'jobs');
  refuseUnknown(options, known, '', problems);
  const shared = readOptions(PipelineDefinitionSchema, only(known, options), problems);
  if (shared === undefined || problems.length > 0)
    throw new TypeError(problems.map((problem) => `pipeline ${name}: ${problem}`).join('\n'));
  return shared;
}

/** What is wrong with how a job stands beside those before it. */
function misplaced(
  pipelineName: string,
  stages: readonly string[],
  jobs: readonly JobDefinition[],
  name: string,
  { needs, stage }: AnyJobOptions<string>,
): string[] {
  const known = new Set(jobs.map((job) => job.name));
  const wrong = known.has(name) ? [`pipeline ${pipelineName} already has a job ${name}`] : [];
  for (const need of Array.isArray(needs) ? needs : []) {
    if (known.has(need)) continue;
    wrong.push(`job ${name} of pipeline ${pipelineName} needs ${need}, which no job before it is called`);
  }
  if (stage !== undefined && !stages.includes(stage))
    wrong.push(`job ${name} is of stage ${stage}, which pipeline ${pipelineName} does not have`);
  return wrong;
}

type JobKind = 'driven' | 'gate' | 'call';

/** Fields of a job that belong to none of its kinds. */
const anyFields = ['needs', 'when', 'if', 'stage', 'matrix', 'allowFailure'] satisfies (keyof AnyJobOptions<string>)[];

/** Adds what is wrong with the options of a job to `problems`. Undefined: something is. */
function readJob(name: string, options: object, kind: JobKind, problems: string[]): JobDefinition | undefined {
  const fields = ownFields(kind);
  refuseUnknown(options, [...anyFields, ...fields], '', problems);
  const any = { ...only(anyFields, options), name };
  const own = only(fields, options);
  switch (kind) {
    case 'driven':
      return readOptions(JobDefinitionSchema, { ...any, ...own }, problems);
    case 'gate': {
      const job = readOptions(JobDefinitionSchema, any, problems);
      const gate = readOptions(GateSchema, own, problems);
      return job && gate && { ...job, gate };
    }
    case 'call': {
      const job = readOptions(JobDefinitionSchema, any, problems);
      const call = readOptions(PipelineCallSchema, own, problems);
      return job && call && { ...job, call };
    }
  }
}

/** Fields beside those of any job. */
function ownFields(kind: JobKind): readonly string[] {
  switch (kind) {
    case 'driven': {
      const others = new Set<string>([...anyFields, 'name', 'gate', 'call']);
      return fieldNames(JobDefinitionSchema).filter((field) => !others.has(field));
    }
    case 'gate':
      return fieldNames(GateSchema);
    case 'call':
      return fieldNames(PipelineCallSchema);
  }
}

function only(fields: readonly string[], options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([field]) => fields.includes(field)));
}
