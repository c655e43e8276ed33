// Owns the logs of a run that is followed: each attempt's from its first byte, a bounded number at a time.
import type { Event } from '@conveyor/client';
import type { Cli } from './cli.ts';
import { writeLines } from './log-lines.ts';
import type { Prefixes } from './prefixes.ts';

/** Logs that are read at a time. Those of further attempts wait, so at most as many as the run has attempts. */
const maxTails = 32;

/** The logs that are shown. */
export interface Tails {
  /** Shows the log of the attempt that an event is about. */
  add(event: Event): void;
  /** Waits until every log was shown to its end. */
  drained(): Promise<void>;
  /** Stops showing logs. */
  stop(): Promise<void>;
}

/** Shows nothing yet. */
export function createTails(cli: Cli, prefixes: Prefixes, signal: AbortSignal): Tails {
  const stopping = new AbortController();
  const either = AbortSignal.any([signal, stopping.signal]);
  const waiting: Event[] = [];
  const running = new Set<Promise<void>>();
  const startWaiting = () => {
    while (running.size < maxTails && !either.aborted) {
      const event = waiting.shift();
      if (event === undefined) return;
      const tail = showLog(cli, prefixes, event, either).then(() => {
        running.delete(tail);
        startWaiting();
      });
      running.add(tail);
    }
  };
  const drained = async () => {
    while (running.size > 0) await Promise.all(running);
    signal.throwIfAborted();
  };
  return {
    add(event) {
      waiting.push(event);
      startWaiting();
    },
    drained,
    async stop() {
      stopping.abort();
      await Promise.all(running);
    },
  };
}

/** Shows one log. That it cannot be read is told, but does not end the following. */
async function showLog(cli: Cli, prefixes: Prefixes, event: Event, signal: AbortSignal): Promise<void> {
  try {
    const parts = cli.client().jobs.tailLog(event.jobId, { attempt: event.attempt }, { signal });
    await writeLines(cli.terminal, prefixes.of(event.job, '|'), parts);
  } catch (thrown) {
    if (signal.aborted) return;
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    cli.terminal.note(`cannot show the log of ${event.job}, attempt ${event.attempt}: ${message}`);
  }
}
