import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ScheduleSpec } from '@conveyor/protocol/conveyor/v1/schedule_pb.js';
import { ScheduleService } from '@conveyor/protocol/conveyor/v1/schedule_service_pb.js';
import { describe, expect, it } from 'vitest';
import { RunService } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { clientThrough, doors } from './testing/doors.ts';
import { startScriptedServer } from './testing/scripted-server.ts';

describe.each(doors)('schedules over %s', (door) => {
  it('are applied, and the answer tells what changed', async () => {
    const applied: { name: string; spec: ScheduleSpec | undefined; paused: boolean | undefined }[] = [];
    await using server = await startScriptedServer((router) =>
      router.service(ScheduleService, {
        applySchedule({ name, spec, paused, validateOnly }) {
          if (validateOnly) return { warnings: [`${name} is unchecked`] };
          applied.push({ name, spec, paused });
          return { schedule: { name }, changed: true, warnings: ['unchecked'] };
        },
      }),
    );
    const spec = { run: { source: { case: 'pipeline', value: { name: 'ci' } } }, cron: ['@daily'] } as const;
    const { schedules } = clientThrough(door, server);
    const answer = await schedules.apply({ name: 'nightly', spec: { ...spec, cron: [...spec.cron] } });
    expect(answer).toMatchObject({ schedule: { name: 'nightly' }, changed: true, warnings: ['unchecked'] });
    expect(await schedules.validate({ name: 'nightly', spec: {} })).toEqual(['nightly is unchecked']);
    await schedules.apply({ name: 'nightly', spec: {}, paused: false });
    expect(applied).toMatchObject([{ name: 'nightly', spec }, { paused: false }]);
    expect(applied[0]?.paused).toBeUndefined();
  });

  it('are triggered and backfilled under request ids of their own, and again when the connection breaks', async () => {
    const asked: { requestId: string; from?: bigint | undefined; until?: bigint | undefined }[] = [];
    await using server = await startScriptedServer((router) =>
      router.service(ScheduleService, {
        triggerSchedule({ requestId }) {
          asked.push({ requestId });
          if (asked.length === 1) server.cutConnections();
          return { occurrence: { runId: 'r' } };
        },
        backfillSchedule({ requestId, startTime, endTime, maxParallel }) {
          asked.push({ requestId, from: startTime?.seconds, until: endTime?.seconds });
          return { queued: maxParallel };
        },
      }),
    );
    const { schedules } = clientThrough(door, server);
    expect(await schedules.trigger('nightly')).toMatchObject({ runId: 'r' });
    const range = { from: new Date(1_000), until: new Date(9_000) };
    expect(await schedules.backfill('nightly', { ...range, maxParallel: 3, requestId: 'mine' })).toBe(3);
    expect(asked[0]?.requestId).toMatch(/^[\da-f]{32}$/);
    expect(asked[1]?.requestId).toBe(asked[0]?.requestId);
    expect(asked[2]).toEqual({ requestId: 'mine', from: 1n, until: 9n });
  });

  it('tell what comes and list what came', async () => {
    await using server = await startScriptedServer((router) =>
      router.service(ScheduleService, {
        listOccurrences: ({ upcomingCount = 0, pageToken }) => ({
          upcomingTimes: Array.from({ length: upcomingCount }, (_, index) => timestampFromMs(index * 1_000)),
          occurrences: [{ runId: `run ${pageToken || '1'}` }],
          nextPageToken: pageToken === '' ? '2' : '',
        }),
      }),
    );
    const { schedules } = clientThrough(door, server);
    expect(await schedules.upcoming('nightly', 2)).toEqual([new Date(0), new Date(1_000)]);
    const occurrences = await Array.fromAsync(schedules.occurrences('nightly'));
    expect(occurrences.map(({ runId }) => runId)).toEqual(['run 1', 'run 2']);
  });

  it('are not the only way to start later: a run can, too', async () => {
    const starts: (bigint | undefined)[] = [];
    await using server = await startScriptedServer((router) =>
      router.service(RunService, {
        createRun({ run }) {
          starts.push(run?.startTime?.seconds);
          return { run: { runId: 'r' } };
        },
      }),
    );
    const { runs } = clientThrough(door, server);
    await runs.create({ pipeline: 'ci', startTime: new Date(5_000) });
    await runs.create({ pipeline: 'ci' });
    expect(starts).toEqual([5n, undefined]);
  });
});
