// Schedules and their occurrences as the contract shows them. What has its default value is shown too: it is what holds.
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { ErrorReason } from '@conveyor/protocol/conveyor/v1/error_pb.js';
import type { RunSpecSchema } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import {
  ScheduleMissedPolicy,
  ScheduleOccurrenceOrigin,
  type ScheduleOccurrenceSchema,
  ScheduleOccurrenceState,
  ScheduleOverlapPolicy,
  type ScheduleSchema,
  ScheduleSkipReason,
  type ScheduleSpecSchema,
} from '@conveyor/protocol/conveyor/v1/schedule_pb.js';
import type { OccurrenceView, ScheduledRun, ScheduleSpec, ScheduleView, SkipReason } from '../core/schedule.ts';
import { encodeDefinition } from './definition-codec.ts';
import { encodeTime } from './encode-run.ts';

export function encodeSchedule(schedule: ScheduleView): MessageInitShape<typeof ScheduleSchema> {
  const { project, name, spec, paused, nextMs, createdMs, updatedMs } = schedule;
  return {
    project,
    name,
    spec: encodeSpec(spec),
    paused: paused !== undefined,
    pauseReason: paused?.reason ?? '',
    pauseTime: encodeTime(paused?.sinceMs),
    nextTime: encodeTime(nextMs),
    createTime: timestampFromMs(createdMs),
    updateTime: timestampFromMs(updatedMs),
  };
}

export function encodeOccurrence(occurrence: OccurrenceView): MessageInitShape<typeof ScheduleOccurrenceSchema> {
  const { atMs, state, origin, runId, skip, failure, decidedMs } = occurrence;
  return {
    time: timestampFromMs(atMs),
    state: ScheduleOccurrenceState[state],
    origin: ScheduleOccurrenceOrigin[origin],
    runId: runId ?? '',
    skipReason: skip === undefined ? ScheduleSkipReason.UNSPECIFIED : ScheduleSkipReason[skip],
    failureReason: failure === undefined ? ErrorReason.UNSPECIFIED : ErrorReason[failure.reason],
    message: failure?.message ?? (skip === undefined ? '' : SKIPPED[skip]),
    decideTime: timestampFromMs(decidedMs),
  };
}

const SKIPPED: Readonly<Record<SkipReason, string>> = {
  OVERLAP: 'the run of an earlier occurrence was open, or an earlier one waited',
  MISSED: 'nobody took it in time, and the policy does not run it late',
  SUPERSEDED: 'a later occurrence took its place before it started',
  LIMIT: 'too many runs of the schedule were open',
};

function encodeSpec(spec: ScheduleSpec): MessageInitShape<typeof ScheduleSpecSchema> {
  return {
    run: encodeScheduledRun(spec.run),
    cron: [...spec.cron],
    timeZone: spec.timeZone,
    startTime: encodeTime(spec.startMs),
    endTime: encodeTime(spec.endMs),
    overlapPolicy: ScheduleOverlapPolicy[spec.overlap],
    missedPolicy: ScheduleMissedPolicy[spec.missed],
    catchUpWindow: durationFromMs(spec.catchUpMs),
    maxCatchUp: spec.maxCatchUp,
    pausedIsMissed: spec.pausedIsMissed,
  };
}

function encodeScheduledRun(run: ScheduledRun): MessageInitShape<typeof RunSpecSchema> {
  const { pipeline, definition, params, labels } = run;
  return {
    ...(pipeline !== undefined && { source: { case: 'pipeline' as const, value: { revision: 0, ...pipeline } } }),
    ...(definition !== undefined && {
      source: { case: 'definition' as const, value: encodeDefinition(definition) },
    }),
    ...(Object.keys(params).length > 0 && { params }),
    labels,
  };
}
