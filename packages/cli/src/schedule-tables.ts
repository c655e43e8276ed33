// Owns how schedules and their occurrences look to people.
import {
  type Schedule,
  ScheduleMissedPolicy,
  type ScheduleOccurrence,
  ScheduleOccurrenceOrigin,
  ScheduleOccurrenceState,
  ScheduleOverlapPolicy,
  ScheduleSkipReason,
} from '@conveyor/client';
import type { Colors } from './terminal.ts';
import { enumName, fields, labels, printable, stateCell, table, time } from './text.ts';

export function scheduleTable(schedules: readonly Schedule[]): string {
  return table(
    ['SCHEDULE', 'RUNS', 'CRON', 'TIME ZONE', 'NEXT'],
    schedules.map((schedule) => [
      schedule.name,
      whatRuns(schedule),
      (schedule.spec?.cron ?? []).join(', '),
      schedule.spec?.timeZone ?? '',
      schedule.paused ? 'paused' : time(schedule.nextTime) || '-',
    ]),
  );
}

export function scheduleFields(schedule: Schedule): string {
  const { spec, name, paused, pauseReason, pauseTime, nextTime, createTime, updateTime } = schedule;
  return fields([
    ['Schedule', name],
    ['Runs', whatRuns(schedule)],
    ['Labels', labels(spec?.run?.labels ?? {})],
    ['Cron', (spec?.cron ?? []).join(', ')],
    ['Time zone', spec?.timeZone ?? ''],
    ['From', time(spec?.startTime)],
    ['Until', time(spec?.endTime)],
    ['Overlap', enumName(ScheduleOverlapPolicy, spec?.overlapPolicy ?? 0)],
    ['Missed', enumName(ScheduleMissedPolicy, spec?.missedPolicy ?? 0)],
    ['Paused', paused ? printable(`since ${time(pauseTime)} ${pauseReason}`) : ''],
    ['Next', time(nextTime)],
    ['Created', time(createTime)],
    ['Changed', time(updateTime)],
  ]);
}

export function occurrenceTable(occurrences: readonly ScheduleOccurrence[], colors: Colors): string {
  return table(
    ['TIME', 'STATE', 'FROM', 'RUN', 'DETAIL'],
    occurrences.map((one) => [
      time(one.time),
      stateCell(enumName(ScheduleOccurrenceState, one.state), colors),
      enumName(ScheduleOccurrenceOrigin, one.origin),
      one.runId === '' ? '-' : one.runId,
      occurrenceDetail(one),
    ]),
  );
}

/** Why an occurrence made no run; empty when it made one. */
export function occurrenceDetail({ state, skipReason, message }: ScheduleOccurrence): string {
  if (state !== ScheduleOccurrenceState.SKIPPED) return message;
  return `${enumName(ScheduleSkipReason, skipReason)}: ${message}`;
}

function whatRuns({ spec }: Schedule): string {
  const source = spec?.run?.source;
  if (source?.case !== 'pipeline') return 'a definition of its own';
  const { name, revision } = source.value;
  return revision === 0 ? name : `${name}@${revision}`;
}
