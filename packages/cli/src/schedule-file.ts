// Owns schedules written as YAML: the contract's ScheduleSpec beside a `name` and perhaps `paused`.
import { ScalarType } from '@bufbuild/protobuf';
import type { ScheduleSpec } from '@conveyor/client';
import { ScheduleSpecSchema } from '@conveyor/protocol/conveyor/v1/schedule_pb.js';
import type { FileProblem } from './file-problem.ts';
import { type FileKind, type FilePlaces, parseMessageFile } from './message-file.ts';

/** A schedule, and where each part of it stands in its file. */
export interface ScheduleFile extends FilePlaces {
  /** Its `name`; undefined when the file gives none. */
  readonly name: string | undefined;
  /** Its `paused`; undefined when the file says nothing of it. */
  readonly paused: boolean | undefined;
  readonly spec: ScheduleSpec;
}

/** Schedules as files. */
export const scheduleFile: FileKind<typeof ScheduleSpecSchema> = {
  desc: ScheduleSpecSchema,
  what: 'a schedule: a mapping with `name`, `run` and `cron`',
  beside: {
    name: { type: ScalarType.STRING, description: 'The name of the schedule.' },
    paused: { type: ScalarType.BOOL, description: 'Whether no occurrence comes by time. Default: as it is.' },
  },
  prefix: /^spec\.?/,
};

/** Reads a schedule from YAML or JSON; answers with everything that is wrong with it when something is. */
export function parseSchedule(source: string | Uint8Array, fileName: string): ScheduleFile | readonly FileProblem[] {
  const read = parseMessageFile(source, fileName, scheduleFile);
  if (!('message' in read)) return read;
  const { name, paused } = read.beside;
  return {
    name: typeof name === 'string' ? name : undefined,
    paused: typeof paused === 'boolean' ? paused : undefined,
    spec: read.message,
    locate: (fieldPath) => read.locate(fieldPath),
    problemOf: (violation) => read.problemOf(violation),
  };
}
