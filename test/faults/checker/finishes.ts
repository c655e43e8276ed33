// Pairs the results that drivers sent with their answers: those of one attempt on one session are answered in their order.
import type { JournalEntry } from '../drivers/journal.ts';

export interface AnsweredFinish {
  readonly attempt: string;
  readonly session: string;
  readonly result: string;
  /** Undefined: nothing was heard of it. */
  answer: 'finishAck' | 'logMissing' | 'revoke' | undefined;
}

export function answeredFinishes(journal: readonly JournalEntry[]): AnsweredFinish[] {
  const all: AnsweredFinish[] = [];
  const open = new Map<string, AnsweredFinish[]>();
  for (const entry of journal) {
    if (!('attempt' in entry)) continue;
    const { session, attempt } = entry;
    const key = `${session} ${attempt}`;
    if ('say' in entry && entry.say === 'finish') {
      const finish: AnsweredFinish = { attempt, session, result: entry.result, answer: undefined };
      all.push(finish);
      open.set(key, [...(open.get(key) ?? []), finish]);
    } else if ('hear' in entry && /^(finishAck|logMissing|revoke)$/.test(entry.hear)) {
      const answered = open.get(key)?.shift();
      if (answered !== undefined) answered.answer = entry.hear as NonNullable<AnsweredFinish['answer']>;
    }
  }
  return all;
}
