// Calls on schedules.
import { ScheduleMissedPolicy, ScheduleOverlapPolicy } from '@conveyor/protocol/conveyor/v1/schedule_pb.js';
import { ScheduleService } from '@conveyor/protocol/conveyor/v1/schedule_service_pb.js';
import { expect } from 'vitest';
import { DEFINITION } from '../sample-definitions.ts';
import { RUN_ID } from '../sample-runs.ts';
import { SCHEDULE } from '../sample-schedules.ts';
import { type Case, definition } from './call-case.ts';

export const SCHEDULE_CALLS: readonly Case[] = [
  {
    method: ScheduleService.method.applySchedule,
    request: { name: 'Nightly', spec: { cron: ['0 33 * * *'] }, validateOnly: true },
    asked: [
      'default',
      'Nightly',
      expect.anything(),
      expect.arrayContaining([
        expect.objectContaining({ field: 'name' }),
        expect.objectContaining({ field: 'spec.cron[0]' }),
      ]),
    ],
    answered: { warnings: ['no shell driver is known'] },
    without: ['schedule', 'changed'],
  },
  {
    method: ScheduleService.method.applySchedule,
    request: {
      name: 'nightly',
      spec: {
        run: {
          source: { case: 'pipeline', value: { name: 'ci' } },
          params: { sha: 'HEAD' },
          labels: { kind: 'nightly' },
        },
        cron: ['0 3 * * *'],
        timeZone: 'Europe/Berlin',
        startTime: { seconds: 1_700_000_000n },
        overlapPolicy: ScheduleOverlapPolicy.QUEUE_ONE,
        missedPolicy: ScheduleMissedPolicy.RUN_ALL,
        catchUpWindow: { seconds: 90n },
        maxCatchUp: 3,
        pausedIsMissed: true,
      },
      paused: false,
    },
    asked: ['default', 'nightly', SCHEDULE.spec, false],
    answered: {
      changed: true,
      warnings: ['no shell driver is known'],
      schedule: {
        name: 'nightly',
        spec: {
          run: { pipeline: { name: 'ci' }, params: { sha: 'HEAD' }, labels: { kind: 'nightly' } },
          cron: ['0 3 * * *'],
          timeZone: 'Europe/Berlin',
          startTime: '2023-11-14T22:13:20Z',
          overlapPolicy: 'SCHEDULE_OVERLAP_POLICY_QUEUE_ONE',
          missedPolicy: 'SCHEDULE_MISSED_POLICY_RUN_ALL',
          catchUpWindow: '90s',
          maxCatchUp: 3,
          pausedIsMissed: true,
        },
        nextTime: '2023-11-14T22:14:20Z',
      },
    },
    without: ['schedule.pauseTime', 'schedule.spec.endTime'],
  },
  {
    method: ScheduleService.method.applySchedule,
    request: {
      name: 'nightly',
      spec: { run: { source: { case: 'definition', value: definition } }, cron: ['@daily'] },
    },
    asked: [
      'default',
      'nightly',
      {
        run: { definition: DEFINITION, params: {}, labels: {} },
        cron: ['@daily'],
        timeZone: 'UTC',
        overlap: 'SKIP',
        missed: 'RUN_ONCE',
        catchUpMs: 86_400_000,
        maxCatchUp: 10,
        pausedIsMissed: false,
      },
      undefined,
    ],
    answered: { changed: true },
  },
  {
    method: ScheduleService.method.getSchedule,
    request: { name: 'nightly' },
    asked: ['default', 'nightly'],
    answered: { schedule: { createTime: '2023-11-14T22:13:20Z', updateTime: '2023-11-14T22:13:21.500Z' } },
  },
  {
    method: ScheduleService.method.listSchedules,
    request: { pageSize: 2 },
    asked: ['default', { size: 2 }],
    answered: { schedules: [{ name: 'nightly' }], nextPageToken: expect.any(String) },
  },
  {
    method: ScheduleService.method.deleteSchedule,
    request: { name: 'nightly' },
    asked: ['default', 'nightly'],
    answered: {},
  },
  {
    method: ScheduleService.method.pauseSchedule,
    request: { name: 'nightly', reason: 'frozen' },
    asked: ['default', 'nightly', 'frozen'],
    answered: { schedule: { paused: true, pauseReason: 'frozen', pauseTime: '2023-11-14T22:13:29Z' } },
    without: ['schedule.nextTime'],
  },
  {
    method: ScheduleService.method.resumeSchedule,
    request: { name: 'nightly' },
    asked: ['default', 'nightly'],
    answered: { schedule: { name: 'nightly' } },
    without: ['schedule.paused'],
  },
  {
    method: ScheduleService.method.triggerSchedule,
    request: { name: 'nightly', requestId: 'r-1' },
    asked: ['default', 'nightly', 'r-1'],
    answered: {
      occurrence: {
        time: '2023-11-14T22:13:23Z',
        state: 'SCHEDULE_OCCURRENCE_STATE_STARTED',
        origin: 'SCHEDULE_OCCURRENCE_ORIGIN_TRIGGER',
        runId: RUN_ID,
        decideTime: '2023-11-14T22:13:23.500Z',
      },
    },
  },
  {
    method: ScheduleService.method.backfillSchedule,
    request: { name: 'nightly', startTime: { seconds: 5n }, endTime: { seconds: 9n }, requestId: 'r-2' },
    asked: ['default', 'nightly', { fromMs: 5_000, untilMs: 9_000, parallel: 1, requestId: 'r-2' }],
    answered: { queued: 7 },
  },
  {
    method: ScheduleService.method.listOccurrences,
    request: { name: 'nightly' },
    asked: ['default', 'nightly', 10, { size: 100 }],
    answered: {
      upcomingTimes: ['2023-11-14T22:14:20Z', '2023-11-14T22:15:20Z'],
      occurrences: [
        { runId: RUN_ID },
        {
          state: 'SCHEDULE_OCCURRENCE_STATE_SKIPPED',
          skipReason: 'SCHEDULE_SKIP_REASON_OVERLAP',
          message: expect.stringContaining('earlier'),
        },
        {
          state: 'SCHEDULE_OCCURRENCE_STATE_FAILED',
          origin: 'SCHEDULE_OCCURRENCE_ORIGIN_BACKFILL',
          failureReason: 'ERROR_REASON_PIPELINE_NOT_FOUND',
          message: 'pipeline ci does not exist',
        },
      ],
      nextPageToken: expect.any(String),
    },
  },
];
