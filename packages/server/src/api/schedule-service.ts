// ScheduleService: schedules, and what became of their occurrences.
import type { ServiceImpl } from '@connectrpc/connect';
import { timestampFromMs, type Timestamp } from '@bufbuild/protobuf/wkt';
import type { ScheduleService } from '@conveyor/protocol/conveyor/v1/schedule_service_pb.js';
import { addViolation, checkName, checkNumber, type Found, PIPELINE_NAME } from '../core/check-fields.ts';
import { type CheckWork, createCheckWork } from '../core/check-work.ts';
import type { ScheduleSpec } from '../core/schedule.ts';
import type { Engine } from '../engine/engine.ts';
import { inTurns } from '../engine/pace.ts';
import { decodeScheduleSpec } from './decode-schedule.ts';
import { encodeOccurrence, encodeSchedule } from './encode-schedule.ts';
import { encodePageToken } from './page-token.ts';
import {
  decodeInTurns,
  decodePage,
  decodeProject,
  decodeReason,
  decodeRequest,
  decodeRequestId,
  decodeTime,
} from './request-fields.ts';

const MAX_PARALLEL = 100;
const MAX_UPCOMING = 100;
const DEFAULT_UPCOMING = 10;

export function createScheduleService({ schedules }: Engine): ServiceImpl<typeof ScheduleService> {
  return {
    async applySchedule({ project, name, spec, paused, validateOnly }) {
      const owner = decodeProject(project);
      const read = function* (found: Found, work: CheckWork): Generator<undefined, ScheduleSpec> {
        checkScheduleName(found, name);
        return yield* decodeScheduleSpec(found, 'spec', spec, work);
      };
      if (validateOnly) {
        const found: Found = [];
        const checked = await inTurns(read(found, createCheckWork()));
        return { warnings: [...(await schedules.validate(owner, name, checked, found))] };
      }
      const checked = await decodeInTurns(read);
      const { schedule, changed, warnings } = await schedules.apply(owner, name, checked, paused);
      return { schedule: encodeSchedule(schedule), changed, warnings: [...warnings] };
    },

    async getSchedule({ project, name }) {
      const owner = decodeNamed(project, name);
      return { schedule: encodeSchedule(await schedules.get(owner, name)) };
    },

    async listSchedules(request) {
      const project = decodeProject(request.project);
      const list = ['ListSchedules', project];
      const page = decodeRequest((found) => decodePage(found, request, { request: list }));
      const { items, next } = await schedules.list(project, page);
      return { schedules: items.map(encodeSchedule), nextPageToken: encodePageToken(next, list) };
    },

    async deleteSchedule({ project, name }) {
      await schedules.delete(decodeNamed(project, name), name);
      return {};
    },

    async pauseSchedule({ project, name, reason }) {
      const owner = decodeNamed(project, name);
      const why = decodeRequest((found) => decodeReason(found, reason));
      return { schedule: encodeSchedule(await schedules.pause(owner, name, why)) };
    },

    async resumeSchedule({ project, name }) {
      const owner = decodeNamed(project, name);
      return { schedule: encodeSchedule(await schedules.resume(owner, name)) };
    },

    async triggerSchedule({ project, name, requestId: id }) {
      const owner = decodeNamed(project, name);
      const { requestId } = decodeRequest((found) => decodeRequestId(found, id));
      return { occurrence: encodeOccurrence(await schedules.trigger(owner, name, requestId)) };
    },

    async backfillSchedule({ project, name, startTime, endTime, maxParallel, requestId }) {
      const owner = decodeProject(project);
      const request = decodeRequest((found) => {
        checkScheduleName(found, name);
        const fromMs = decodeRequiredTime(found, 'start_time', startTime);
        const untilMs = decodeRequiredTime(found, 'end_time', endTime);
        if (untilMs <= fromMs) addViolation(found, 'end_time', 'must be after start_time');
        const parallel = maxParallel === 0 ? 1 : maxParallel;
        checkNumber(found, 'max_parallel', parallel, { min: 1, max: MAX_PARALLEL, integer: true });
        return { fromMs, untilMs, parallel, ...decodeRequestId(found, requestId) };
      });
      return { queued: await schedules.backfill(owner, name, request) };
    },

    async listOccurrences(request) {
      const { name, upcomingCount } = request;
      const project = decodeProject(request.project);
      const list = ['ListOccurrences', project, name];
      const { page, upcoming } = decodeRequest((found) => {
        checkScheduleName(found, name);
        const upcoming = upcomingCount ?? (request.pageToken === '' ? DEFAULT_UPCOMING : 0);
        checkNumber(found, 'upcoming_count', upcoming, { min: 0, max: MAX_UPCOMING, integer: true });
        return { upcoming, page: decodePage(found, request, { request: list }) };
      });
      const told = await schedules.occurrences(project, name, upcoming, page);
      return {
        upcomingTimes: told.upcoming.map((ms) => timestampFromMs(ms)),
        occurrences: told.past.items.map(encodeOccurrence),
        nextPageToken: encodePageToken(told.past.next, list),
      };
    },
  };
}

function checkScheduleName(found: Found, name: string): void {
  // Names of schedules are like those of pipelines.
  checkName(found, 'name', name, PIPELINE_NAME);
}

/** Reads a request that holds a project and the name of a schedule. Returns the project. */
function decodeNamed(project: string, name: string): string {
  const owner = decodeProject(project);
  decodeRequest((found) => checkScheduleName(found, name));
  return owner;
}

function decodeRequiredTime(found: Found, field: string, time: Timestamp | undefined): number {
  if (time === undefined) addViolation(found, field, 'is required');
  return decodeTime(found, field, time) ?? Number.NaN;
}
