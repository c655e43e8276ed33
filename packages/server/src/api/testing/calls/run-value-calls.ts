// Calls on the values of a run.
import { fromJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { RunValueService } from '@conveyor/protocol/conveyor/v1/run_value_service_pb.js';
import { expect } from 'vitest';
import { RUN_ID } from '../sample-runs.ts';
import { type Case } from './call-case.ts';

export const RUN_VALUE_CALLS: readonly Case[] = [
  {
    method: RunValueService.method.setRunValue,
    request: { runId: RUN_ID, key: 'gate', value: fromJson(ValueSchema, { open: true }), expectedVersion: 0n },
    asked: ['default', RUN_ID, 'gate', { open: true }, 0],
    answered: { version: '7' },
  },
  {
    method: RunValueService.method.setRunValue,
    request: { runId: RUN_ID, key: 'gate', value: fromJson(ValueSchema, null) },
    asked: ['default', RUN_ID, 'gate', null, undefined],
    answered: { version: '7' },
  },
  {
    method: RunValueService.method.getRunValue,
    request: { runId: RUN_ID, key: 'gate' },
    asked: ['default', RUN_ID, 'gate'],
    answered: {
      value: {
        project: 'default',
        runId: RUN_ID,
        key: 'gate',
        value: { open: true, sizes: [1, null] },
        version: '7',
        updateTime: '2023-11-14T22:13:29Z',
      },
    },
  },
  {
    method: RunValueService.method.listRunValues,
    request: { runId: RUN_ID, prefix: 'ga', pageSize: 3 },
    asked: ['default', RUN_ID, 'ga', { size: 3 }],
    answered: { values: [{ key: 'gate' }], nextPageToken: expect.any(String) },
  },
  {
    method: RunValueService.method.deleteRunValue,
    request: { runId: RUN_ID, key: 'gate', expectedVersion: 7n },
    asked: ['default', RUN_ID, 'gate', 7],
    answered: {},
  },
];
