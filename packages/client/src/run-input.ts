// Owns how callers say what to run and which runs they mean: plain objects, turned into messages of the contract.
import type { JsonObject, MessageInitShape } from '@bufbuild/protobuf';
import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { JobState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import type { PipelineDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { type Run, RunState, type TriggerSchema } from '@conveyor/protocol/conveyor/v1/run_pb.js';
import {
  type AssumedOutcome,
  AssumedOutcomeSchema,
  type RunFilter,
  RunFilterSchema,
  type RunSpec,
  RunSpecSchema,
} from '@conveyor/protocol/conveyor/v1/run_service_pb.js';

/** Who or what starts a run; `kind` defaults to `api`. */
export type TriggerInput = MessageInitShape<typeof TriggerSchema>;

/** What to run: a stored pipeline, at its newest revision unless one is given, or a definition of its own. */
export type RunSource =
  | { readonly pipeline: string; readonly revision?: number | undefined }
  | { readonly definition: MessageInitShape<typeof PipelineDefinitionSchema> };

/** A run to create. */
export type RunInput = RunSource & {
  /** Checked against the definition's params schema. Default: {}. */
  readonly params?: JsonObject | undefined;
  /** Default: none. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Default: of kind `api`. */
  readonly trigger?: TriggerInput | undefined;
  /** When it may start; at most 365 days ahead. Default: at once. */
  readonly startTime?: Date | undefined;
  /** For 24 h the same id with the same body answers with the same run. Default: a random one for each call. */
  readonly requestId?: string | undefined;
};

/** How a job of a plan is assumed to end. */
export interface AssumedInput {
  /** `skipped` only of a gate whose timeout skips it. Default: `succeeded`. */
  readonly outcome?: 'succeeded' | 'failed' | 'cancelled' | 'skipped' | undefined;
  /** Default: not known; {} says that there are none. */
  readonly outputs?: JsonObject | undefined;
}

/** A run to plan. */
export type PlanInput = RunInput & {
  /** How jobs end, by their names; that of a matrix is for each of its cells, such as `test[linux]`, that is not named. Default: well. */
  readonly assumed?: Readonly<Record<string, AssumedInput>> | undefined;
};

/** Who holds something back or lets it go on, and why, for people to read. */
export interface AskerInput {
  /** At most 1 KiB. */
  readonly reason?: string | undefined;
  /** At most 256 characters. */
  readonly actor?: string | undefined;
}

/** Which runs; conditions are joined by AND. Default: all. */
export interface RunFilterInput {
  /** Only runs of this pipeline. */
  readonly pipeline?: string | undefined;
  /** Only runs in one of these states. */
  readonly states?: readonly RunState[] | undefined;
  /** Only runs that carry all of these labels. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

export function toRunSpec(input: RunInput): RunSpec {
  const source: RunSpec['source'] | MessageInitShape<typeof RunSpecSchema>['source'] =
    'definition' in input
      ? { case: 'definition', value: input.definition }
      : { case: 'pipeline', value: { name: input.pipeline, revision: input.revision ?? 0 } };
  return create(RunSpecSchema, {
    source,
    ...(input.params === undefined ? {} : { params: input.params }),
    labels: { ...input.labels },
    ...(input.trigger === undefined ? {} : { trigger: input.trigger }),
    ...(input.startTime === undefined ? {} : { startTime: timestampFromDate(input.startTime) }),
  });
}

const assumedOutcomes = {
  succeeded: JobState.SUCCEEDED,
  failed: JobState.FAILED,
  cancelled: JobState.CANCELLED,
  skipped: JobState.SKIPPED,
};

export function toAssumed(assumed: PlanInput['assumed'] = {}): Record<string, AssumedOutcome> {
  const entries = Object.entries(assumed).map(
    ([name, { outcome = 'succeeded', outputs }]): [string, AssumedOutcome] => {
      const known = outputs === undefined ? {} : { outputs };
      return [name, create(AssumedOutcomeSchema, { outcome: assumedOutcomes[outcome], ...known })];
    },
  );
  return Object.fromEntries(entries);
}

export function toRunFilter(input: RunFilterInput): RunFilter {
  return create(RunFilterSchema, {
    pipeline: input.pipeline ?? '',
    states: [...(input.states ?? [])],
    labels: { ...input.labels },
  });
}

/** True in states that never change. */
export function isFinishedRun({ state }: Run): boolean {
  return state === RunState.SUCCEEDED || state === RunState.FAILED || state === RunState.CANCELLED;
}
