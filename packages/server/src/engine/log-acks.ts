// Acknowledgements of log bytes of one session: cumulative, so that the newest of an attempt stands for all before it. Those of one
// turn of the event loop are sent together.
import type { ServerFrame } from '../core/frames.ts';
import { type AttemptKey, formatAttemptId } from '../core/ids.ts';

type LogAck = Extract<ServerFrame, { type: 'LogAck' }>;

export interface LogAcks {
  add(key: AttemptKey, offset: number, gap: boolean): void;
  /** Its result is acknowledged, and with it everything. */
  forget(key: AttemptKey): void;
}

/** @param windowBytes How far a window may reopen now. */
export function createLogAcks(send: (ack: LogAck) => void, windowBytes: () => number, maxLogBytes: number): LogAcks {
  const waiting = new Map<string, LogAck>();

  function flush(): void {
    for (const ack of waiting.values()) send(ack);
    waiting.clear();
  }

  return {
    add(key, offset, gap) {
      if (waiting.size === 0) setImmediate(flush);
      const windowEnd = Math.min(offset + windowBytes(), maxLogBytes);
      waiting.set(formatAttemptId(key), { type: 'LogAck', key, offset, windowEnd, gap });
    },
    forget(key) {
      waiting.delete(formatAttemptId(key));
    },
  };
}
