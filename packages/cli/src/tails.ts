// Owns the logs of a run that is followed: each attempt's from its first byte, a bounded number at a time.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Event } from '@conveyor/client';
import type { Cli } from './cli.ts';
import { writeLines } from './log-lines.ts';
import type { Prefixes } from './prefixes.ts';

/** Logs that are read at a time. Those of further attempts wait, so at most as many as the run has attempts. */
const maxTails = 32;
/** How long the end of an attempt waits for that of its log. */
const maxSettleMs = 2_000;

/** The logs that are shown. */
export interface Tails {
  /** Shows the log of the attempt that an event is about. */
  add(event: Event): void;
  /** Before the end of an attempt is told: waits until its log was shown to its end, but not for long. */
  settled(event: Event): Promise<void>;
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
  const running = new Map<string, Promise<void>>();
  const startWaiting = () => {
    while (running.size < maxTails && !either.aborted) {
      const event = waiting.shift();
      if (event === undefined) return;
      const tail = showLog(cli, prefixes, event, either).then(() => {
        running.delete(keyOf(event));
        startWaiting();
      });
      running.set(keyOf(event), tail);
    }
  };
  const drained = async () => {
    while (running.size > 0) await Promise.all(running.values());
    signal.throwIfAborted();
  };
  return {
    add(event) {
      waiting.push(event);
      startWaiting();
    },
    async settled(event) {
      const tail = running.get(keyOf(event));
      if (event.kind.case !== 'attemptEnded' || tail === undefined) return;
      const shown = new AbortController();
      const patience = sleep(maxSettleMs, undefined, { signal: AbortSignal.any([either, shown.signal]) }).catch(
        () => {},
      );
      await Promise.race([tail, patience]);
      shown.abort();
    },
    drained,
    async stop() {
      stopping.abort();
      await Promise.all(running.values());
    },
  };
}

function keyOf({ jobId, attempt }: Event): string {
  return `${jobId} ${attempt}`;
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
