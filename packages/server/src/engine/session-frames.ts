// What the driver of one session says of its attempts: each frame has its turn, becomes a command or a log write, and is answered after
// the commit. What waits for an answer is bounded; beyond that the session ends.
import type { DriverFrame } from '../core/frames.ts';
import { LIMITS } from '../core/limits.ts';
import type { Refusal } from '../core/refusal.ts';
import type { AppendCheck } from './append-check.ts';
import type { SessionLink } from './driver-operations.ts';
import { type Answered, createFrameLines } from './frame-lines.ts';
import type { Holds } from './holds.ts';
import type { Ledger } from './ledger.ts';
import type { LogAcks } from './log-acks.ts';
import type { LogEntry, LogResult, LogWriter } from './log-writer.ts';
import { createOneAtATime } from './one-at-a-time.ts';
import type { RunValues } from './run-values.ts';
import type { Writer } from './run-work.ts';
import { createSessionAppends } from './session-appends.ts';
import type { SessionAttempts } from './session-attempts.ts';
import { createSessionValues } from './session-values.ts';

/** What asks something of an attempt. */
export type AskFrame = Extract<
  DriverFrame,
  {
    type:
      | 'Adopt'
      | 'Disown'
      | 'Accept'
      | 'Reject'
      | 'Annotation'
      | 'DeclareArtifact'
      | 'AppendJobs'
      | 'GetValue'
      | 'SetValue'
      | 'DeleteValue'
      | 'Finish'
      | 'Malformed';
  }
>;

export interface SessionFrames {
  ask(frame: AskFrame): void;
  write(frame: LogEntry): void;
  /** Runs what a frame asks for when all before it is stored. */
  last(frame: DriverFrame, task: () => Promise<void>): void;
  /** Forgets what has not begun. */
  clear(): void;
}

export interface SessionFramesOptions {
  readonly facts: { readonly writer: Writer };
  readonly link: SessionLink;
  readonly ledger: Ledger;
  readonly logWriter: LogWriter;
  readonly values: Pick<RunValues, 'readFor' | 'changeFor'>;
  readonly checkAppended: AppendCheck;
  readonly whyTooOld: (version: number) => Refusal | undefined;
  readonly holds: Holds;
  readonly acks: LogAcks;
  readonly attempts: SessionAttempts;
  /** Runs work that answers the driver. */
  readonly work: (task: () => Promise<void>) => void;
  /** The session may not write any more. */
  readonly superseded: () => void;
  readonly end: (refusal: Refusal) => void;
}

export function createSessionFrames(options: SessionFramesOptions): SessionFrames {
  const { logWriter, holds, acks, attempts, work, superseded, end } = options;
  const { writer } = options.facts;
  const lines = createFrameLines(LIMITS.sessionPendingBytes);
  const queries = createOneAtATime();
  const stale: SessionAttempts['unwritten'] = (key, result) => attempts.unwritten(key, result);
  const shared = { ...options, writer, stale };
  const appends = createSessionAppends(shared);
  const values = createSessionValues({ ...shared, invalid: (key, problem) => attempts.lose(key, 'INVALID', problem) });
  let pendingLogBytes = 0;

  function begin(frame: AskFrame): void {
    switch (frame.type) {
      case 'Accept':
        return accept(frame);
      case 'Finish':
        return finish(frame);
      case 'Annotation':
        return ask(frame, () => attempts.annotate(frame));
      case 'DeclareArtifact':
        return ask(frame, () => attempts.declare(frame));
      case 'AppendJobs':
        return ask(frame, () => queries.run(() => appends.handle(frame)));
      case 'GetValue':
      case 'SetValue':
      case 'DeleteValue':
        return ask(frame, () => queries.run(() => values.handle(frame)));
      case 'Reject':
        attempts.markAsked(frame.key);
        return ask(frame, () => attempts.reject(frame));
      case 'Malformed':
        return ask(frame, () =>
          attempts.lose(frame.key, 'INVALID', `the driver sent what cannot be taken: ${frame.problem}`),
        );
      case 'Adopt':
        return ask(frame, () => attempts.adopt(frame.key));
      case 'Disown':
        return ask(frame, () => attempts.disown(frame.key));
    }
  }

  /** Runs what a frame asks for when its turn has come. */
  function ask(frame: DriverFrame, task: () => Promise<void>): void {
    admitted(lines.ask(frame, begun(task)));
  }

  function write(frame: LogEntry, done: (result: LogResult) => void): void {
    admitted(
      lines.write(frame, (answered) =>
        logWriter.write(writer, frame, (result) => {
          done(result);
          answered();
        }),
      ),
    );
  }

  function last(frame: DriverFrame, task: () => Promise<void>): void {
    admitted(lines.askBehindWrites(frame, begun(task)));
  }

  function begun(task: () => Promise<void>): (answered: Answered) => void {
    return (answered) => work(() => task().finally(answered));
  }

  function admitted(isAdmitted: boolean): void {
    if (isAdmitted) return;
    const max = LIMITS.sessionPendingBytes;
    end({
      refused: 'LIMIT_REACHED',
      message: `frames of ${max} bytes wait for an answer, as many as one session may have: say less at a time`,
      metadata: { limit: 'session_pending_bytes', max: String(max) },
    });
  }

  function accept(frame: Extract<DriverFrame, { type: 'Accept' }>): void {
    const { key } = frame;
    const hold = holds.find(key) ?? holds.add(key, 'OFFERED', Number.POSITIVE_INFINITY, undefined);
    // Said again, it is about to be answered.
    if (hold.phase === 'ASKED') return;
    hold.phase = 'ASKED';
    ask(frame, () => attempts.accept(hold));
  }

  function finish(frame: Extract<DriverFrame, { type: 'Finish' }>): void {
    const hold = attempts.markAsked(frame.key);
    last(frame, async () => {
      const said = queries.settled();
      if (said !== undefined) await said;
      await attempts.finish(frame, hold);
    });
  }

  function writeLog(frame: Extract<DriverFrame, { type: 'Log' }>): void {
    const { length } = frame.data;
    pendingLogBytes += length;
    if (pendingLogBytes > LIMITS.sessionLogWindow + LIMITS.logFrameBytes) {
      const message = `${pendingLogBytes} log bytes wait for a LogAck: send at most session_log_window of them`;
      end({ refused: 'PROTOCOL_VIOLATION', message });
      return;
    }
    write(frame, (result) => {
      pendingLogBytes -= length;
      written(frame, result);
    });
  }

  function written({ type, key }: LogEntry, result: LogResult): void {
    switch (result.type) {
      case 'Stored':
        // While a Finish is under way its answer says it all.
        if (type === 'Log' && holds.find(key)?.phase !== 'ASKED') acks.add(key, result.offset, false);
        return;
      case 'Gap':
        return acks.add(key, result.offset, true);
      case 'Stale':
        return work(() => attempts.unwritten(key, result));
      case 'Superseded':
        return superseded();
      case 'Invalid':
        return work(() => attempts.lose(key, 'INVALID', result.problem));
      case 'Failed':
        return work(() => Promise.reject(result.error));
    }
  }

  return {
    ask: begin,
    write: (frame) => (frame.type === 'Log' ? writeLog(frame) : write(frame, (result) => written(frame, result))),
    last,
    clear: () => lines.clear(),
  };
}
