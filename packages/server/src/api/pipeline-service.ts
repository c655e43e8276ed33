// PipelineService: named pipelines and their revisions.
import { create } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { PipelineDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import type { PipelineService } from '@conveyor/protocol/conveyor/v1/pipeline_service_pb.js';
import { addViolation, checkName, PIPELINE_NAME } from '../core/check-fields.ts';
import type { Engine } from '../engine/engine.ts';
import { decodeDefinition } from './definition-codec.ts';
import { encodePipeline, encodeRevision } from './encode-run.ts';
import { encodePageToken } from './page-token.ts';
import { decodeNumber, decodePage, decodeProject, decodeRequest } from './request-fields.ts';

export function createPipelineService({ pipelines }: Engine): ServiceImpl<typeof PipelineService> {
  return {
    async applyPipeline({ project, name, definition, expectedRevision }) {
      const owner = decodeProject(project);
      const checked = decodeRequest((found) => {
        checkName(found, 'name', name, PIPELINE_NAME);
        if (expectedRevision !== undefined && expectedRevision < 0) {
          addViolation(found, 'expected_revision', `must be 0 or more; got ${expectedRevision}`);
        }
        return decodeDefinition(found, 'definition', definition ?? create(PipelineDefinitionSchema));
      });
      const { pipeline, changed, warnings } = await pipelines.apply(owner, name, checked, expectedRevision);
      return { pipeline: encodePipeline(pipeline), changed, warnings: [...warnings] };
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

    async deletePipeline({ project, name }) {
      const owner = decodeProject(project);
      decodeRequest((found) => checkName(found, 'name', name, PIPELINE_NAME));
      await pipelines.delete(owner, name);
      return {};
    },
  };
}
