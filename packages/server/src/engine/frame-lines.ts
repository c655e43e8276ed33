// What one driver said and that has no answer yet. Commands and log frames begin in order, so many of each at a time, so that a driver
// that says much is in nobody's way but its own; what all of it keeps in memory is bounded.
import type { DriverFrame } from '../core/frames.ts';
import { frameBytes } from './frame-bytes.ts';

/** Of one session, so many commands and so many log frames are under way at a time: enough to fill a flush. */
const AT_ONCE = 2_000;

/** Called once, when the frame has its answer. */
export type Answered = () => void;

export interface FrameLines {
  /** Begins a command when its turn has come. Returns false when too much waits; then nothing happens. */
  ask(frame: DriverFrame, begin: (answered: Answered) => void): boolean;
  /** The same for a frame that goes into the log writer. */
  write(frame: DriverFrame, begin: (answered: Answered) => void): boolean;
  /** The same for a command that comes after every log frame before it. */
  askBehindWrites(frame: DriverFrame, begin: (answered: Answered) => void): boolean;
  /** Forgets what has not begun. */
  clear(): void;
}

export function createFrameLines(maxBytes: number): FrameLines {
  const commands = createLine();
  const writes = createLine();
  let bytes = 0;

  function admit(line: Line, frame: DriverFrame, begin: (answered: Answered) => void): boolean {
    const size = frameBytes(frame);
    if (bytes + size > maxBytes) return false;
    bytes += size;
    line.join((left) =>
      begin(() => {
        bytes -= size;
        left();
      }),
    );
    return true;
  }

  return {
    ask: (frame, begin) => admit(commands, frame, begin),
    write: (frame, begin) => admit(writes, frame, begin),
    askBehindWrites(frame, begin) {
      // The usual case: the log writer has them all, and knows when they are stored.
      if (!writes.hasWaiting()) return admit(commands, frame, begin);
      return admit(writes, frame, (answered) => {
        commands.join((left) =>
          begin(() => {
            left();
            answered();
          }),
        );
      });
    },
    clear() {
      commands.clear();
      writes.clear();
    },
  };
}

type Member = (left: () => void) => void;

interface Line {
  /** @param begin Called when its turn has come; must not throw, and calls `left` once. */
  join(begin: Member): void;
  hasWaiting(): boolean;
  clear(): void;
}

interface Waiting {
  readonly begin: Member;
  next: Waiting | undefined;
}

function createLine(): Line {
  let first: Waiting | undefined;
  let last: Waiting | undefined;
  let underWay = 0;
  let advancing = false;

  function leave(): void {
    underWay--;
    advance();
  }

  function advance(): void {
    // Whoever leaves while it begins must not begin the next one on top of its own stack.
    if (advancing) return;
    advancing = true;
    while (first !== undefined && underWay < AT_ONCE) {
      const { begin, next } = first;
      first = next;
      if (next === undefined) last = undefined;
      underWay++;
      begin(leave);
    }
    advancing = false;
  }

  return {
    join(begin) {
      const waiting: Waiting = { begin, next: undefined };
      if (last === undefined) first = waiting;
      else last.next = waiting;
      last = waiting;
      advance();
    },
    hasWaiting: () => first !== undefined,
    clear() {
      first = last = undefined;
    },
  };
}
