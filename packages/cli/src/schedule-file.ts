// Owns schedules written as YAML: the contract's ScheduleSpec beside a `name` and perhaps `paused`.
import { ScalarType } from '@bufbuild/protobuf';
import type { ScheduleSpec } from '@conveyor/client';
import { ScheduleSpecSchema } from '@conveyor/protocol/conveyor/v1/schedule_pb.js';
import type { FileProblem } from './file-problem.ts';
import { type FileKind, type FilePlaces, type MeantFile, readMessageFile } from './message-file.ts';

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

/** A schedule as it was most likely meant. */
export interface MeantSchedule
  extends ScheduleFile,
    Pick<MeantFile<typeof ScheduleSpecSchema>, 'problems' | 'refusals'> {}

/** Reads a schedule from YAML or JSON as it was most likely meant; answers with what is wrong when nothing of it can be read. */
export function readSchedule(source: string | Uint8Array, fileName: string): MeantSchedule | readonly FileProblem[] {
  const read = readMessageFile(source, fileName, scheduleFile);
  if (!('message' in read)) return read;
  const { beside, message, ...rest } = read;
  const { name, paused } = beside;
  return {
    ...rest,
    name: typeof name === 'string' ? name : undefined,
    paused: typeof paused === 'boolean' ? paused : undefined,
    spec: message,
  };
}
