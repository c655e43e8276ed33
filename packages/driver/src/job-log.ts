// Owns the log of one attempt as its work writes it: bytes by channel, and sections.
import { LogChannel } from '@conveyor/protocol/conveyor/v1/log_pb.js';
import type { Attempt } from './attempt.ts';
import { sectionFrame } from './frames.ts';

/** Where log bytes come from. */
export type LogSource = 'stdout' | 'stderr' | 'driver';

/** How to log. */
export interface LogOptions {
  /** Default: `stdout`. */
  readonly channel?: LogSource;
}

/** The log of one attempt. */
export interface JobLog {
  /**
   * Appends to the log, as it is: no line end is added. Resolves once the runtime holds the bytes, which is at once unless
   * 1 MiB of the log is not yet durable: then it waits, so while the control plane is away a writer blocks. Await it; of
   * writes that were not awaited more than 16 MiB in line are dropped, and the log is marked as truncated. Bytes must not be
   * changed before it resolves.
   */
  (data: string | Uint8Array, options?: LogOptions): Promise<void>;
  /**
   * Where the part of the log begins that this process writes: 0, or for adopted work how many bytes the earlier process
   * made durable.
   */
  readonly offset: number;
  /** Appends everything that `source` yields, such as the stdout of a child process, reading no faster than it can be held. */
  pipe(source: AsyncIterable<string | Uint8Array>, options?: LogOptions): Promise<void>;
  /** Begins a section that readers can fold, named by at most 256 characters. Sections past the 500th are dropped. */
  section(name: string): LogSectionHandle;
}

/** An open section of a log. */
export interface LogSectionHandle extends Disposable {
  /** Ends the section; a second call does nothing. */
  end(): void;
}

const maxSections = 500;
const logChannels = { stdout: LogChannel.STDOUT, stderr: LogChannel.STDERR, driver: LogChannel.DRIVER };

/** The log of an attempt whose part of this process begins at `offset`. */
export function createJobLog(attempt: Attempt, offset: number): JobLog {
  let sections = 0;
  const write = (data: string | Uint8Array, options?: LogOptions): Promise<void> =>
    attempt.write(data, logChannels[options?.channel ?? 'stdout']);
  return Object.assign(write, {
    offset,
    async pipe(source: AsyncIterable<string | Uint8Array>, options?: LogOptions): Promise<void> {
      for await (const chunk of source) await write(chunk, options);
    },
    section(name: string): LogSectionHandle {
      const number = sections++;
      const mark = (end: boolean): void => {
        if (number >= maxSections) return;
        const frame = sectionFrame(attempt, attempt.log.written, name, end);
        attempt.report(`section ${number} ${end ? 'end' : 'begin'}`, frame);
      };
      let open = true;
      const end = (): void => {
        if (open) mark(true);
        open = false;
      };
      mark(false);
      return { end, [Symbol.dispose]: end };
    },
  });
}
