// Long work on the one thread of a replica that is done whole: it lets others go on every few milliseconds.
import { setImmediate as turn } from 'node:timers/promises';

/** How long others may have to wait for work that is done whole, such as what the runs of one flush work out. */
const TURN_MS = 10;

/** To be called between steps of work that is done whole. */
export type Turns = () => Promise<void> | undefined;

export function createTurns(): Turns {
  let sinceMs = performance.now();

  async function letOthers(): Promise<void> {
    await turn();
    sinceMs = performance.now();
  }

  return () => (performance.now() - sinceMs < TURN_MS ? undefined : letOthers());
}

/** Does work that comes in slices, and lets others go on in between. */
export async function inTurns<T>(slices: Generator<unknown, T>): Promise<T> {
  const turns = createTurns();
  for (;;) {
    const { done, value } = slices.next();
    if (done === true) return value;
    // Most slices are short: nothing is waited for after these.
    const turned = turns();
    if (turned !== undefined) await turned;
  }
}

type Statement = () => Promise<unknown>;

/** Rows of one statement: to make so many takes some milliseconds. */
const STATEMENT_ROWS = 1_000;

/** A statement of no more than so many rows each; none for none. */
export function* inPieces<T>(
  rows: readonly T[],
  write: (rows: readonly T[]) => Promise<unknown>,
): Generator<Statement> {
  for (let from = 0; from < rows.length; from += STATEMENT_ROWS) {
    yield () => write(rows.slice(from, from + STATEMENT_ROWS));
  }
}

/** Sends statements one behind the other, each without waiting for those before, and waits for all of them. */
export async function sendInTurns(statements: Iterable<Statement>): Promise<void> {
  const turns = createTurns();
  const sent: Promise<unknown>[] = [];
  for (const send of statements) {
    const answer = send();
    // What fails is told once all are sent: none may come after the transaction has ended.
    answer.catch(() => undefined);
    sent.push(answer);
    const turned = turns();
    if (turned !== undefined) await turned;
  }
  await Promise.all(sent);
}
