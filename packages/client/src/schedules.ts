// Owns what a program can do with schedules: rules that make runs by time.
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampDate, timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { Client as ServiceClient } from '@connectrpc/connect';
import type { Schedule, ScheduleOccurrence, ScheduleSpecSchema } from '@conveyor/protocol/conveyor/v1/schedule_pb.js';
import type { ScheduleService } from '@conveyor/protocol/conveyor/v1/schedule_service_pb.js';
import { type CallOptions, required } from './call.ts';
import { type ListOptions, paged } from './paging.ts';

/** A schedule to apply. */
export interface ScheduleInput {
  /** 1 to 63 characters of `a-z 0-9 _ -`, beginning with a letter or digit. */
  readonly name: string;
  /** What it runs, and when. */
  readonly spec: MessageInitShape<typeof ScheduleSpecSchema>;
  /** Whether it is to be paused. Default: as it is; a new one is not. */
  readonly paused?: boolean | undefined;
}

/** What an apply did. */
export interface AppliedSchedule {
  /** The schedule as it is now. */
  readonly schedule: Schedule;
  /** False when it already was what was applied. */
  readonly changed: boolean;
  /** What could not be checked, for people to read. */
  readonly warnings: readonly string[];
}

/** Which occurrences to run after the fact. */
export interface BackfillInput {
  /** Begins the range, which includes it. */
  readonly from: Date;
  /** Ends the range, which excludes it. */
  readonly until: Date;
  /** How many of its runs are open at a time, 1 to 100. Default: 1. */
  readonly maxParallel?: number | undefined;
  /** For 24 h the same id answers with the same. Default: a random one for each call. */
  readonly requestId?: string | undefined;
}

/** Schedules of the client's project. Every method throws ConveyorError, or the reason of the caller's signal. */
export interface Schedules {
  /** Creates a schedule or changes it. Reasons: INVALID_FIELD, SPEC_MISMATCH, PIPELINE_NOT_FOUND, LIMIT_REACHED. */
  apply(input: ScheduleInput, options?: CallOptions): Promise<AppliedSchedule>;
  /** Checks all that an apply would, without a change. Returns what could not be checked, for people. Reasons: as `apply`. */
  validate(input: ScheduleInput, options?: CallOptions): Promise<readonly string[]>;
  /** Reads a schedule. Reason: SCHEDULE_NOT_FOUND. */
  get(name: string, options?: CallOptions): Promise<Schedule>;
  /** Schedules by name, without inline definitions. */
  list(options?: ListOptions): AsyncIterable<Schedule>;
  /** Deletes a schedule and its occurrences; its runs stay and go on. Reason: SCHEDULE_NOT_FOUND. */
  delete(name: string, options?: CallOptions): Promise<void>;
  /** Lets no occurrence come by time until it is resumed. Reason: SCHEDULE_NOT_FOUND. */
  pause(name: string, input?: { reason?: string }, options?: CallOptions): Promise<Schedule>;
  /** Ends a pause. Reason: SCHEDULE_NOT_FOUND. */
  resume(name: string, options?: CallOptions): Promise<Schedule>;
  /** Makes an occurrence now; its state says what became of it. Reasons: SCHEDULE_NOT_FOUND, REQUEST_ID_REUSED. */
  trigger(name: string, input?: { requestId?: string }, options?: CallOptions): Promise<ScheduleOccurrence>;
  /** Queues the occurrences of a past range that made no run. Returns how many. Reasons: as `trigger`, and LIMIT_REACHED. */
  backfill(name: string, input: BackfillInput, options?: CallOptions): Promise<number>;
  /** The next times of a schedule, 1 to 100 of them (default 10). Reason: SCHEDULE_NOT_FOUND. */
  upcoming(name: string, count?: number, options?: CallOptions): Promise<Date[]>;
  /** What became of earlier occurrences, newest first. Reason: SCHEDULE_NOT_FOUND. */
  occurrences(name: string, options?: ListOptions): AsyncIterable<ScheduleOccurrence>;
}

export function createSchedules(rpc: ServiceClient<typeof ScheduleService>): Schedules {
  return {
    async apply({ name, spec, paused }, options) {
      const request = { name, spec, ...(paused === undefined ? {} : { paused }) };
      const { schedule, changed, warnings } = await rpc.applySchedule(request, options);
      return { schedule: required(schedule), changed, warnings };
    },
    async validate({ name, spec }, options) {
      return (await rpc.applySchedule({ name, spec, validateOnly: true }, options)).warnings;
    },
    get: async (name, options) => required((await rpc.getSchedule({ name }, options)).schedule),
    list: (options = {}) =>
      paged(async (page) => {
        const { schedules, nextPageToken } = await rpc.listSchedules(page, options);
        return { items: schedules, nextPageToken };
      }, options),
    async delete(name, options) {
      await rpc.deleteSchedule({ name }, options);
    },
    async pause(name, { reason = '' } = {}, options) {
      return required((await rpc.pauseSchedule({ name, reason }, options)).schedule);
    },
    resume: async (name, options) => required((await rpc.resumeSchedule({ name }, options)).schedule),
    async trigger(name, { requestId = '' } = {}, options) {
      return required((await rpc.triggerSchedule({ name, requestId }, options)).occurrence);
    },
    async backfill(name, { from, until, maxParallel = 1, requestId = '' }, options) {
      const range = { startTime: timestampFromDate(from), endTime: timestampFromDate(until) };
      return (await rpc.backfillSchedule({ name, ...range, maxParallel, requestId }, options)).queued;
    },
    async upcoming(name, count = 10, options) {
      const { upcomingTimes } = await rpc.listOccurrences({ name, upcomingCount: count, pageSize: 1 }, options);
      return upcomingTimes.map((time) => timestampDate(time));
    },
    occurrences: (name, options = {}) =>
      paged(async (page) => {
        const request = { name, upcomingCount: 0, ...page };
        const { occurrences, nextPageToken } = await rpc.listOccurrences(request, options);
        return { items: occurrences, nextPageToken };
      }, options),
  };
}
