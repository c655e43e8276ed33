// 4. An attempt has one accepted result: its ledger ends it once, and no two different results of it were acknowledged.
import type { Evidence } from './evidence.ts';
import { answeredFinishes } from './finishes.ts';

export function oneResult({ rows, journal }: Evidence): string[] {
  const found: string[] = [];
  for (const [runId, events] of rows.events) {
    const ends = Map.groupBy(
      events.filter(({ type }) => type === 'AttemptEnded'),
      ({ job, data }) => `${job}.${String(data['attempt'])}`,
    );
    for (const [attempt, { length }] of ends) {
      if (length > 1) found.push(`attempt ${attempt} of run ${runId} ended ${length} times`);
    }
  }
  const acknowledged = Map.groupBy(
    answeredFinishes(journal).filter(({ answer }) => answer === 'finishAck'),
    ({ attempt }) => attempt,
  );
  for (const [attempt, finishes] of acknowledged) {
    const results = new Set(finishes.map(({ result }) => result));
    if (results.size > 1)
      found.push(`${attempt} had ${results.size} results acknowledged: ${[...results].join(' and ')}`);
  }
  return found;
}
