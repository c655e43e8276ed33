// How definitions differ, as the contract shows it: compared as messages, so that whatever a definition may hold is.
import { create, fromJson, type JsonObject, type MessageInitShape, toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { PipelineDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import type { FieldChangeSchema, PipelineDiffSchema } from '@conveyor/protocol/conveyor/v1/pipeline_service_pb.js';
import type { Definition } from '../core/definition.ts';
import { diffDefinitions, type FieldChange } from '../core/diff-definitions.ts';
import { encodeDefinition } from './definition-codec.ts';

/** @param from Undefined: there is nothing yet, and all is new. */
export function encodeDiff(from: Definition | undefined, to: Definition): MessageInitShape<typeof PipelineDiffSchema> {
  const diff = diffDefinitions(from === undefined ? {} : jsonOf(from), jsonOf(to));
  return {
    addedJobs: [...diff.addedJobs],
    removedJobs: [...diff.removedJobs],
    changedJobs: diff.changedJobs.map(({ name, changes }) => ({ name, changes: changes.map(encodeChange) })),
    changes: diff.changes.map(encodeChange),
    changeCount: diff.changeCount,
    onlyOrderDiffers: diff.onlyOrderDiffers,
  };
}

function jsonOf(definition: Definition): JsonObject {
  const json = toJson(PipelineDefinitionSchema, create(PipelineDefinitionSchema, encodeDefinition(definition)), {
    useProtoFieldName: true,
  });
  return typeof json === 'object' && json !== null && !Array.isArray(json) ? json : {};
}

function encodeChange({ path, oldValue, newValue }: FieldChange): MessageInitShape<typeof FieldChangeSchema> {
  return {
    path,
    ...(oldValue !== undefined && { oldValue: fromJson(ValueSchema, oldValue) }),
    ...(newValue !== undefined && { newValue: fromJson(ValueSchema, newValue) }),
  };
}
