// Owns points in the past of a run: how the command line names them, and how it shows which event one is.
import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { Event } from '@conveyor/client';
import { Option } from 'commander';
import type { Cli } from './cli.ts';
import { eventText } from './event-text.ts';
import { UsageError } from './failure.ts';
import { printable, time } from './text.ts';

export interface PointOptions {
  readonly at?: bigint;
}

/** `--at SEQ`. */
export function atOption(): Option {
  return new Option('--at <seq>', 'as it was right after the event of the run with this number').argParser(parseSeq);
}

/** Reads the number of an event. */
export function parseSeq(text: string): bigint {
  if (/^[1-9]\d{0,15}$/.test(text)) return BigInt(text);
  throw new UsageError(
    `'${text}' is no number of an event`,
    'write the number before an event in `conveyor watch RUN`',
  );
}

/** The event of a run that a point is right after; undefined without a point. The run must have it. */
export async function eventAt({ client }: Cli, runId: string, at: bigint | undefined): Promise<Event | undefined> {
  if (at === undefined) return undefined;
  for await (const event of client().runs.watch(runId, { afterSeq: at - 1n })) return event;
  return undefined;
}

/** Until when what goes on at a point has taken, in milliseconds since the Unix epoch. */
export function momentOf(event: Event | undefined): number {
  return event?.time === undefined ? Date.now() : timestampMs(event.time);
}

/** Which event a point is right after, in one line; empty without one. */
export function pointText(event: Event | undefined): string {
  if (event === undefined) return '';
  const what = [event.job, eventText(event) ?? 'something newer than this command'].filter((part) => part !== '');
  return printable(`event ${event.seq} of ${time(event.time)}: ${what.join(' ')}`);
}
