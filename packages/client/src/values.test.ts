import { toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { RunValueService } from '@conveyor/protocol/conveyor/v1/run_value_service_pb.js';
import { describe, expect, it } from 'vitest';
import { clientThrough, doors } from './testing/doors.ts';
import { refusal } from './testing/refusal.ts';
import { startScriptedServer } from './testing/scripted-server.ts';
import { jsonOfValue } from './values.ts';

describe.each(doors)('values over %s', (door) => {
  it('are set with what is expected of them, read as JSON, and deleted', async () => {
    const asked: unknown[] = [];
    await using server = await startScriptedServer((router) =>
      router.service(RunValueService, {
        setRunValue({ runId, key, value, expectedVersion }) {
          asked.push([runId, key, value && toJson(ValueSchema, value), expectedVersion]);
          return { version: 3n };
        },
        getRunValue: ({ key }) => ({ value: { key, version: 3n, value: { kind: { case: 'numberValue', value: 7 } } } }),
        deleteRunValue({ key, expectedVersion }) {
          asked.push([key, expectedVersion]);
          return {};
        },
      }),
    );
    const { values } = clientThrough(door, server);
    expect(await values.set('r', 'gate', { open: [null] }, { expectedVersion: 0n })).toBe(3n);
    await values.set('r', 'gate', null);
    const read = await values.get('r', 'gate');
    expect([read.version, jsonOfValue(read)]).toEqual([3n, 7]);
    await values.delete('r', 'gate', { expectedVersion: 3n });
    await values.delete('r', 'gate');
    expect(asked).toEqual([
      ['r', 'gate', { open: [null] }, 0n],
      ['r', 'gate', null, undefined],
      ['gate', 3n],
      ['gate', undefined],
    ]);
  });

  it('are listed page by page', async () => {
    await using server = await startScriptedServer((router) =>
      router.service(RunValueService, {
        listRunValues: ({ prefix, pageToken }) => ({
          values: [{ key: `${prefix}${pageToken || '1'}` }],
          nextPageToken: pageToken === '' ? '2' : '',
        }),
      }),
    );
    const { values } = clientThrough(door, server);
    const keys = (await Array.fromAsync(values.list('r', { prefix: 'k' }))).map(({ key }) => key);
    expect(keys).toEqual(['k1', 'k2']);
  });

  it('tell what there is instead of what was expected', async () => {
    await using server = await startScriptedServer((router) =>
      router.service(RunValueService, {
        setRunValue() {
          throw refusal('aborted', 'VERSION_MISMATCH', 'it has version 9', { metadata: { current_version: '9' } });
        },
      }),
    );
    await expect(clientThrough(door, server).values.set('r', 'gate', 1, { expectedVersion: 8n })).rejects.toMatchObject(
      {
        reason: 'VERSION_MISMATCH',
        metadata: { current_version: '9' },
      },
    );
  });
});
