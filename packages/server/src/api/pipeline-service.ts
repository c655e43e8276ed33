// PipelineService: named pipelines and their revisions.
import { create } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { PipelineDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import type { PipelineService } from '@conveyor/protocol/conveyor/v1/pipeline_service_pb.js';
import { addViolation, checkName, type Found, PIPELINE_NAME } from '../core/check-fields.ts';
import { type CheckWork, createCheckWork } from '../core/check-work.ts';
import type { Definition } from '../core/definition.ts';
import type { PipelineView } from '../core/views.ts';
import { inTurns } from '../engine/pace.ts';
import type { Engine } from '../engine/engine.ts';
import { decodeDefinition } from './definition-codec.ts';
import { encodeDiff } from './encode-diff.ts';
import { encodePipeline, encodeRevision } from './encode-run.ts';
import { encodeWarnings } from './encode-warnings.ts';
import { encodePageToken } from './page-token.ts';
import { decodeInTurns, decodeNumber, decodePage, decodeProject, decodeRequest } from './request-fields.ts';

export function createPipelineService({ pipelines }: Engine): ServiceImpl<typeof PipelineService> {
  return {
    async applyPipeline({ project, name, definition, expectedRevision, validateOnly }) {
      const owner = decodeProject(project);
      const read = function* (found: Found, work: CheckWork): Generator<undefined, Definition> {
        checkName(found, 'name', name, PIPELINE_NAME);
        if (expectedRevision !== undefined && expectedRevision < 0) {
          addViolation(found, 'expected_revision', `must be 0 or more; got ${expectedRevision}`);
        }
        return yield* decodeDefinition(found, 'definition', definition ?? create(PipelineDefinitionSchema), work);
      };
      if (validateOnly) {
        const found: Found = [];
        const checked = await inTurns(read(found, createCheckWork()));
        const options = { expectedRevision, found };
        const { newest, changed, warnings } = await pipelines.validate(owner, name, checked, options);
        return {
          pipeline: newest && encodePipeline(newest),
          changed,
          ...encodeWarnings(warnings),
          diff: encodeDiff(newest?.definition, checked),
        };
      }
      const checked = await decodeInTurns(read);
      const { pipeline, changed, warnings } = await pipelines.apply(owner, name, checked, expectedRevision);
      return { pipeline: encodePipeline(pipeline), changed, ...encodeWarnings(warnings) };
    },

    async getPipeline({ project, name, revision }) {
      const owner = decodeProject(project);
      const wanted = decodeRequest((found) => {
        checkName(found, 'name', name, PIPELINE_NAME);
        return decodeNumber(found, 'revision', revision);
      });
      return { pipeline: encodePipeline(await pipelines.get(owner, name, wanted)) };
    },

    async listPipelines(request) {
      const project = decodeProject(request.project);
      const list = ['ListPipelines', project];
      const page = decodeRequest((found) => decodePage(found, request, { request: list }));
      const { items, next } = await pipelines.list(project, page);
      return { pipelines: items.map(encodePipeline), nextPageToken: encodePageToken(next, list) };
    },

    async listPipelineRevisions(request) {
      const { name } = request;
      const project = decodeProject(request.project);
      const list = ['ListPipelineRevisions', project, name];
      const page = decodeRequest((found) => {
        checkName(found, 'name', name, PIPELINE_NAME);
        return decodePage(found, request, { fallback: 20, max: 100, request: list });
      });
      const { items, next } = await pipelines.listRevisions(project, name, page);
      return { revisions: items.map(encodeRevision), nextPageToken: encodePageToken(next, list) };
    },

    async diffPipelineRevisions({ project, name, fromRevision, toRevision }) {
      const owner = decodeProject(project);
      const wanted = decodeRequest((found) => {
        checkName(found, 'name', name, PIPELINE_NAME);
        if (fromRevision < 1) addViolation(found, 'from_revision', `is required: 1 or more; got ${fromRevision}`);
        return decodeNumber(found, 'to_revision', toRevision);
      });
      const { from, to } = await pipelines.getTwo(owner, name, fromRevision, wanted);
      const diff = encodeDiff(definitionOf(from), definitionOf(to));
      return { fromRevision: from.revision, toRevision: to.revision, diff };
    },

    async deletePipeline({ project, name }) {
      const owner = decodeProject(project);
      decodeRequest((found) => checkName(found, 'name', name, PIPELINE_NAME));
      await pipelines.delete(owner, name);
      return {};
    },
  };
}

/** Every pipeline that is read by itself has one. */
function definitionOf({ name, definition }: PipelineView): Definition {
  if (definition === undefined) throw new Error(`pipeline ${name} was read without its definition`);
  return definition;
}
