// Owns the reading of logs: bytes in order from any offset, of one attempt even when others follow it. No byte is lost or
// repeated over reconnects; what would break that order is thrown, never passed on.
import type { Client as ServiceClient } from '@connectrpc/connect';
import { LogState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import type { JobService, TailLogResponse } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import type { LogChunk, LogSection } from '@conveyor/protocol/conveyor/v1/log_pb.js';
import { ConveyorError } from './error.ts';
import type { ResumableSource } from './resume.ts';

/** Consecutive bytes of one attempt's log. */
export interface LogPart {
  /** The attempt that is read. */
  readonly attempt: number;
  /** The bytes, and where and when the workload wrote them. */
  readonly chunks: readonly LogChunk[];
  /** Begins and ends of foldable sections within these bytes. */
  readonly sections: readonly LogSection[];
  /** What is known of the whole log; a tail says other than OPEN with its last part, which may be empty. EXPIRED: it has no bytes any more. */
  readonly logState: LogState;
}

/** Where to read a log. */
export interface LogPosition {
  /** The attempt, from 1. Default: the newest, or the first when there is none yet. */
  readonly attempt?: number | undefined;
  /** The first byte wanted, from 0. Default: 0. */
  readonly offset?: bigint | undefined;
}

/** A log from a position, complete when its attempt has ended. */
export function logTail(
  rpc: ServiceClient<typeof JobService>,
  jobId: string,
  position: LogPosition,
): ResumableSource<TailLogResponse, LogPart> {
  let attempt = position.attempt ?? 0;
  let offset = position.offset ?? 0n;
  // A section may begin or end exactly where the stream is opened again.
  let sectionsAtOffset: string[] = [];
  let sectionsToSkip: string[] = [];
  let ended = false;
  return {
    open(signal) {
      sectionsToSkip = sectionsAtOffset;
      return rpc.tailLog({ jobId, attempt, offset }, { signal });
    },
    read(message) {
      const from = offset;
      attempt = message.attempt || attempt;
      offset = behind(message.chunks, offset);
      ended = message.logState !== LogState.OPEN && message.logState !== LogState.UNSPECIFIED;
      const sections = message.sections.filter(
        (section) => section.offset > from || !sectionsToSkip.includes(sectionKey(section)),
      );
      if (offset > from) sectionsAtOffset = [];
      sectionsAtOffset.push(...sections.filter((section) => section.offset === offset).map(sectionKey));
      if (message.chunks.length === 0 && sections.length === 0 && !ended) return [];
      return [{ attempt, chunks: message.chunks, sections, logState: message.logState }];
    },
    isComplete: () => ended,
  };
}

/** The stored bytes of a log from a position, up to where it ends when it is read. */
export async function* storedLog(
  rpc: ServiceClient<typeof JobService>,
  jobId: string,
  position: LogPosition,
  options: { readonly signal?: AbortSignal; readonly timeoutMs?: number },
): AsyncGenerator<LogPart, void, void> {
  let attempt = position.attempt ?? 0;
  let offset = position.offset ?? 0n;
  for (;;) {
    const part = await rpc.readLog({ jobId, attempt, offset }, options);
    attempt = part.attempt;
    offset = behind(part.chunks, offset);
    yield part;
    if (part.chunks.length === 0 || offset >= part.logSize) return;
  }
}

/** The offset behind the chunks, which must begin at `offset` and follow one another. */
function behind(chunks: readonly LogChunk[], offset: bigint): bigint {
  let next = offset;
  for (const chunk of chunks) {
    if (chunk.offset !== next) {
      throw new ConveyorError('data_loss', `log bytes at offset ${chunk.offset} came where ${next} was due`);
    }
    next += BigInt(chunk.data.length);
  }
  return next;
}

function sectionKey({ offset, name, end }: LogSection): string {
  return `${offset} ${end} ${name}`;
}
