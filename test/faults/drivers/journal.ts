// What drivers said and were told, frame by frame, as their processes saw it. It is written to a file line by line, so that what a
// process wrote before it was killed is there.
import { appendFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface JournalPlace {
  /** Names one stream among all of a scenario. */
  readonly session: string;
  /** On the machine's monotonic clock. */
  readonly atMs: number;
}

/** An attempt is named as its frame names it; the two agree unless a driver lies. */
export interface AttemptAddress {
  readonly attempt: string;
  readonly fence: number;
}

export type Said =
  | { readonly say: 'hello'; readonly driver: string; readonly instance: string; readonly held: readonly string[] }
  | ({
      readonly say: 'log';
      readonly offset: number;
      readonly length: number;
      readonly sha256: string;
    } & AttemptAddress)
  | ({ readonly say: 'finish'; readonly result: string } & AttemptAddress)
  | ({ readonly say: 'accept' | 'reject' | 'adopt' | 'disown' | 'report' } & AttemptAddress)
  | { readonly say: 'goodbye' }
  /** How many frames of the message were repeated or changed places. */
  | { readonly say: 'meddled'; readonly frames: number };

export type Heard =
  | {
      readonly hear: 'welcome';
      readonly epoch: number;
      /** Attempts that go on, are to begin, or are known as finished. */
      readonly verdicts: readonly (AttemptAddress & { readonly kind: string; readonly offset: number })[];
      readonly orphans: readonly string[];
    }
  | ({ readonly hear: 'logAck'; readonly offset: number } & AttemptAddress)
  | ({ readonly hear: 'offer' | 'start' | 'cancel' | 'finishAck' | 'logMissing' | 'revoke' } & AttemptAddress)
  | { readonly hear: 'end'; readonly code: number };

export type JournalEntry = JournalPlace & (Said | Heard);

/** Appends to a file of a scenario's directory. */
export function openJournal(file: string): (entry: JournalEntry) => void {
  return (entry) => appendFileSync(file, `${JSON.stringify(entry)}\n`);
}

/** All journals of a directory, each in its own order. A last line that was cut off is left out. */
export async function readJournals(directory: string): Promise<JournalEntry[]> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.journal'));
  const texts = await Promise.all(names.map((name) => readFile(join(directory, name), 'utf8')));
  return texts.flatMap((text) =>
    text
      .slice(0, text.lastIndexOf('\n') + 1)
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as JournalEntry),
  );
}
