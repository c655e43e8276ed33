// Owns what a program can do with named pipelines and their revisions.
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Client as ServiceClient } from '@connectrpc/connect';
import type {
  Pipeline,
  PipelineDefinitionSchema,
  PipelineRevision,
} from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import type {
  ApplyPipelineRequestSchema,
  ApplyPipelineResponse,
  DiffPipelineRevisionsResponse,
  PipelineDiff,
  PipelineService,
} from '@conveyor/protocol/conveyor/v1/pipeline_service_pb.js';
import { type CallOptions, required } from './call.ts';
import { type ListOptions, paged } from './paging.ts';
import { detailsOf, type Warning } from './warning.ts';

/** A pipeline to apply; what the pipeline builder makes is one. */
export interface PipelineInput {
  /** 1 to 63 characters of `a-z 0-9 _ -`, beginning with a letter or digit. */
  readonly name: string;
  /** What it runs. */
  readonly definition: MessageInitShape<typeof PipelineDefinitionSchema>;
  /** Apply only when this is the newest revision; 0 when there must be none. Default: whatever it is. */
  readonly expectedRevision?: number | undefined;
}

/** What an apply did. */
export interface AppliedPipeline {
  /** The pipeline as it is now. */
  readonly pipeline: Pipeline;
  /** False when the newest revision already had this definition. */
  readonly changed: boolean;
  /** What could not be checked, for people to read. */
  readonly warnings: readonly string[];
  /** The same, each with the field that it is about; that is empty where an older server does not tell it. */
  readonly warningDetails: readonly Warning[];
}

/** What an apply would do. */
export interface ValidatedPipeline {
  /** Its newest revision; undefined when there is none. */
  readonly newest: Pipeline | undefined;
  /** Whether applying would make a revision. */
  readonly changed: boolean;
  /** What applying would change of the newest revision; without one, all is new. */
  readonly diff: PipelineDiff;
  /** What could not be checked, for people to read. */
  readonly warnings: readonly string[];
  /** The same, each with the field that it is about; that is empty where an older server does not tell it. */
  readonly warningDetails: readonly Warning[];
}

/** Pipelines of the client's project. Every method throws ConveyorError, or the reason of the caller's signal. */
export interface Pipelines {
  /** Creates a pipeline or a new revision of it. Reasons: INVALID_FIELD, SPEC_MISMATCH, REVISION_MISMATCH. */
  apply(input: PipelineInput, options?: CallOptions): Promise<AppliedPipeline>;
  /** Checks all that an apply would, without a change. Reasons: INVALID_FIELD, SPEC_MISMATCH, REVISION_MISMATCH. */
  validate(input: PipelineInput, options?: CallOptions): Promise<ValidatedPipeline>;
  /** Compares a revision with the newest, or with the given one. Reason: PIPELINE_NOT_FOUND. */
  diff(
    name: string,
    fromRevision: number,
    options?: CallOptions & { readonly toRevision?: number | undefined },
  ): Promise<DiffPipelineRevisionsResponse>;
  /** Reads a pipeline at its newest revision, or at the given one. Reason: PIPELINE_NOT_FOUND. */
  get(name: string, options?: CallOptions & { readonly revision?: number }): Promise<Pipeline>;
  /** Pipelines by name, without definitions. */
  list(options?: ListOptions): AsyncIterable<Pipeline>;
  /** Revisions of a pipeline, newest first. Reason: PIPELINE_NOT_FOUND. */
  revisions(name: string, options?: ListOptions): AsyncIterable<PipelineRevision>;
  /** Deletes a pipeline; its runs stay and go on. Reason: PIPELINE_NOT_FOUND. */
  delete(name: string, options?: CallOptions): Promise<void>;
}

export function createPipelines(rpc: ServiceClient<typeof PipelineService>): Pipelines {
  return {
    async apply(input, options) {
      const answer: ApplyPipelineResponse = await rpc.applyPipeline(toRequest(input), options);
      const { pipeline, changed, warnings } = answer;
      return { pipeline: required(pipeline), changed, warnings, warningDetails: detailsOf(answer) };
    },
    async validate(input, options) {
      const request = { ...toRequest(input), validateOnly: true };
      const answer = await rpc.applyPipeline(request, options);
      const { pipeline, changed, diff, warnings } = answer;
      return { newest: pipeline, changed, diff: required(diff), warnings, warningDetails: detailsOf(answer) };
    },
    diff: (name, fromRevision, options = {}) =>
      rpc.diffPipelineRevisions({ name, fromRevision, toRevision: options.toRevision ?? 0 }, options),
    async get(name, options = {}) {
      return required((await rpc.getPipeline({ name, revision: options.revision ?? 0 }, options)).pipeline);
    },
    list: (options = {}) =>
      paged(async (page) => {
        const { pipelines, nextPageToken } = await rpc.listPipelines(page, options);
        return { items: pipelines, nextPageToken };
      }, options),
    revisions: (name, options = {}) =>
      paged(async (page) => {
        const { revisions, nextPageToken } = await rpc.listPipelineRevisions({ name, ...page }, options);
        return { items: revisions, nextPageToken };
      }, options),
    async delete(name, options) {
      await rpc.deletePipeline({ name }, options);
    },
  };
}

/** Names the fields: a pipeline builder has more than a request. */
function toRequest({ name, definition, expectedRevision }: PipelineInput) {
  return {
    name,
    definition,
    ...(expectedRevision === undefined ? {} : { expectedRevision }),
  } satisfies MessageInitShape<typeof ApplyPipelineRequestSchema>;
}
