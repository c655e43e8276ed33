// Owns schedules written as YAML: the contract's ScheduleSpec beside a `name` and perhaps `paused`.
import { ScalarType } from '@bufbuild/protobuf';
import type { ScheduleSpec } from '@conveyor/client';
import { ScheduleSpecSchema } from '@conveyor/protocol/conveyor/v1/schedule_pb.js';
import type { FileField, FileProblem } from './file-problem.ts';
import { type FileKind, parseMessageFile } from './message-file.ts';

/** A schedule, and where each part of it stands in its file. */
export interface ScheduleFile {
  /** Its `name`; undefined when the file gives none. */
  readonly name: string | undefined;
  /** Its `paused`; undefined when the file says nothing of it. */
  readonly paused: boolean | undefined;
  readonly spec: ScheduleSpec;
  /** A field by its path as the server writes it: its path in the file, and where it or what is nearest above it stands. */
  locate(fieldPath: string): FileField;
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
  };
}
