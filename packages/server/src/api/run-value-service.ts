// RunValueService: what the jobs of a run and its platform share.
import { fromJson, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs, ValueSchema } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import type { RunValueSchema } from '@conveyor/protocol/conveyor/v1/run_value_pb.js';
import type { RunValueService } from '@conveyor/protocol/conveyor/v1/run_value_service_pb.js';
import { addViolation, checkName, type Found, OUTPUT_KEY, quote } from '../core/check-fields.ts';
import type { RunValueView } from '../core/views.ts';
import type { Engine } from '../engine/engine.ts';
import { decodeExpected, decodeValue } from './decode-value.ts';
import { encodePageToken } from './page-token.ts';
import { decodePage, decodeProject, decodeRequest, decodeRunId } from './request-fields.ts';

export function createRunValueService({ values }: Engine): ServiceImpl<typeof RunValueService> {
  return {
    async setRunValue({ project, runId, key, value, expectedVersion }) {
      const owner = decodeProject(project);
      const id = decodeRunId('run_id', runId);
      const { json, expected } = decodeRequest((found) => {
        checkName(found, 'key', key, OUTPUT_KEY);
        return {
          json: decodeValue(found, 'value', value),
          expected: decodeExpected(found, expectedVersion, 0),
        };
      });
      return { version: BigInt(await values.set(owner, id, key, json, expected)) };
    },

    async getRunValue({ project, runId, key }) {
      const owner = decodeProject(project);
      const id = decodeRunId('run_id', runId);
      decodeRequest((found) => checkName(found, 'key', key, OUTPUT_KEY));
      return { value: encodeRunValue(await values.get(owner, id, key)) };
    },

    async listRunValues(request) {
      const { prefix } = request;
      const project = decodeProject(request.project);
      const runId = decodeRunId('run_id', request.runId);
      const list = ['ListRunValues', project, runId, prefix];
      const page = decodeRequest((found) => {
        checkPrefix(found, prefix);
        return decodePage(found, request, { request: list });
      });
      const { items, next } = await values.list(project, runId, prefix, page);
      return { values: items.map(encodeRunValue), nextPageToken: encodePageToken(next, list) };
    },

    async deleteRunValue({ project, runId, key, expectedVersion }) {
      const owner = decodeProject(project);
      const id = decodeRunId('run_id', runId);
      const expected = decodeRequest((found) => {
        checkName(found, 'key', key, OUTPUT_KEY);
        return decodeExpected(found, expectedVersion, 1);
      });
      await values.delete(owner, id, key, expected);
      return {};
    },
  };
}

function checkPrefix(found: Found, prefix: string): void {
  if (prefix === '' || OUTPUT_KEY.pattern.test(prefix)) return;
  addViolation(found, 'prefix', `must be ${OUTPUT_KEY.rule}, or left out; got ${quote(prefix)}`);
}

function encodeRunValue(value: RunValueView): MessageInitShape<typeof RunValueSchema> {
  const { project, runId, key, version, updatedMs } = value;
  return {
    project,
    runId,
    key,
    value: fromJson(ValueSchema, value.value),
    version: BigInt(version),
    updateTime: timestampFromMs(updatedMs),
  };
}
