// Owns what a program can do with values of runs: small JSON values that the jobs of a run and its platform share.
import { fromJson, type JsonValue, toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import type { Client as ServiceClient } from '@connectrpc/connect';
import type { RunValue } from '@conveyor/protocol/conveyor/v1/run_value_pb.js';
import type { RunValueService } from '@conveyor/protocol/conveyor/v1/run_value_service_pb.js';
import { type CallOptions, required } from './call.ts';
import { type ListOptions, paged } from './paging.ts';

/** On what a change of a value depends. */
export interface ValueCondition {
  /** Change it only if it has this version; 0, to set it: only if there is none. Default: whatever it has. */
  readonly expectedVersion?: bigint | undefined;
}

/** Values of runs, by run and key. Every method throws ConveyorError, or the reason of the caller's signal. */
export interface Values {
  /** Reads a value. Reasons: RUN_NOT_FOUND, VALUE_NOT_FOUND. */
  get(runId: string, key: string, options?: CallOptions): Promise<RunValue>;
  /**
   * Sets a value; when it returns, the value is durable. Returns its version. It is not repeated by itself: read the value when the
   * answer got lost. Reasons: RUN_NOT_FOUND, VERSION_MISMATCH, ALREADY_FINISHED, LIMIT_REACHED, REPLICA_TOO_OLD, INVALID_FIELD.
   */
  set(runId: string, key: string, value: JsonValue, condition?: ValueCondition, options?: CallOptions): Promise<bigint>;
  /** The values of a run by key. Reason: RUN_NOT_FOUND. */
  list(runId: string, options?: ListOptions & { readonly prefix?: string }): AsyncIterable<RunValue>;
  /** Deletes a value. Reasons: RUN_NOT_FOUND, VALUE_NOT_FOUND, VERSION_MISMATCH, ALREADY_FINISHED, REPLICA_TOO_OLD. */
  delete(runId: string, key: string, condition?: ValueCondition, options?: CallOptions): Promise<void>;
}

export function createValues(rpc: ServiceClient<typeof RunValueService>): Values {
  return {
    get: async (runId, key, options) => required((await rpc.getRunValue({ runId, key }, options)).value),
    async set(runId, key, json, condition = {}, options) {
      const value = fromJson(ValueSchema, json);
      return (await rpc.setRunValue({ runId, key, value, ...expecting(condition) }, options)).version;
    },
    list: (runId, { prefix = '', ...options } = {}) =>
      paged(async (page) => {
        const { values, nextPageToken } = await rpc.listRunValues({ runId, prefix, ...page }, options);
        return { items: values, nextPageToken };
      }, options),
    async delete(runId, key, condition = {}, options) {
      await rpc.deleteRunValue({ runId, key, ...expecting(condition) }, options);
    },
  };
}

/** What a value of a run holds, as plain JSON. */
export function jsonOfValue({ value }: Pick<RunValue, 'value'>): JsonValue {
  return value === undefined ? null : toJson(ValueSchema, value);
}

function expecting({ expectedVersion }: ValueCondition): { expectedVersion?: bigint } {
  return expectedVersion === undefined ? {} : { expectedVersion };
}
