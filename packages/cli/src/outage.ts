// Owns what is said of a connection that breaks: one line for each outage, however many tries it takes.
import type { ConveyorError } from '@conveyor/client';
import type { Terminal } from './terminal.ts';

/** Tells of outages of one or more streams. */
export interface OutageNotice {
  /** Takes a break into account; for the options of a stream. */
  readonly onReconnect: (error: ConveyorError) => void;
  /** Takes into account that something was heard again. */
  readonly heard: () => void;
}

export function createOutageNotice(terminal: Pick<Terminal, 'note'>): OutageNotice {
  let isOut = false;
  return {
    onReconnect(error) {
      if (!isOut) terminal.note(`connection lost (${error.message}), connecting again`);
      isOut = true;
    },
    heard() {
      isOut = false;
    },
  };
}
