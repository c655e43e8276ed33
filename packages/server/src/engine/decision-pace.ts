// The pace of the decisions of one transaction: they are made in slices, between which others have the thread and the session is kept
// from being ended as idle. Where others wait for the transaction, what takes long is left for one of its own.
import type { Tx } from '../store/sql.ts';
import { readClock } from '../store/ledger-rows.ts';
import { createTurns } from './pace.ts';

/** What decisions may take of a transaction for which others wait, and of one that is for them alone before it is committed. */
const LONG_MS_BESIDE_OTHERS = 100;
const LONG_MS_ALONE = 2_000;
/** What is made in so long is made at once, whatever took long before it. */
const SHORT_MS = 5;
/** After so long without a statement the session is told that somebody is there; it waits for 5 s. */
const SILENT_MS = 1_000;

export interface DecisionPace {
  /** Makes decisions. Returns undefined when they are to be made elsewhere: then nothing more may be decided of what they are about. */
  make<T>(slices: Generator<undefined, T>): Promise<{ readonly made: T } | undefined>;
  /** Whether what has not begun is to be left for the next transaction. */
  readonly isLong: () => boolean;
}

/** @param isAlone Whether nobody else waits for the transaction. */
export function createDecisionPace(tx: Tx, isAlone: boolean): DecisionPace {
  const turns = createTurns();
  let spentMs = 0;
  let spokenMs = performance.now();

  async function speak(): Promise<void> {
    await readClock(tx);
    spokenMs = performance.now();
  }

  return {
    async make(slices) {
      const before = spentMs;
      for (;;) {
        const beganMs = performance.now();
        const { done, value } = slices.next();
        const nowMs = performance.now();
        spentMs += nowMs - beganMs;
        // Most decisions are short: nothing is waited for behind these.
        const turned = turns();
        if (turned !== undefined) await turned;
        if (nowMs - spokenMs >= SILENT_MS) await speak();
        if (done === true) return { made: value };
        const isShort = spentMs - before < SHORT_MS;
        if (!isAlone && !isShort && spentMs > LONG_MS_BESIDE_OTHERS) return undefined;
      }
    },
    isLong: () => spentMs > (isAlone ? LONG_MS_ALONE : LONG_MS_BESIDE_OTHERS),
  };
}
