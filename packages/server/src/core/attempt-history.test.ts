import { expect, test } from 'vitest';
import { type AttemptPage, createAttemptPage } from './attempt-history.ts';
import { makeRunId } from './ids.ts';
import type { JsonObject } from './json.ts';
import type { LedgerEntry } from './replay.ts';

const key = { runId: makeRunId(1, new Uint8Array(10)), job: 1 };

/** The events of attempts of two jobs in turn, each of which starts, is annotated and ends with outputs. */
function ledgerOf(attempts: number, outputs: JsonObject): LedgerEntry[] {
  const entries: LedgerEntry[] = [];
  const add = (event: LedgerEntry['event']): void => {
    entries.push({ seq: entries.length + 1, timeMs: entries.length * 10, event });
  };
  for (let attempt = 1; attempt <= attempts; attempt++) {
    for (const job of [0, 1]) {
      add({ type: 'AttemptOffered', job, attempt, instance: `of job ${job}`, instanceNo: 1 });
      add({ type: 'AttemptStarted', job, attempt });
      for (const number of [1, 2]) {
        const annotation = { level: 'INFO', text: `${attempt}: ${number}`, link: '' } as const;
        add({ type: 'AttemptAnnotated', job, attempt, number, annotation });
      }
      add({ type: 'AttemptArtifact', job, attempt, number: 1, artifact });
      const failure = { class: 'WORKLOAD', message: 'it broke' } as const;
      add({ type: 'AttemptEnded', job, attempt, state: 'FAILED', failure, outputs, logSize: 7, logState: 'SEALED' });
    }
  }
  return entries;
}

const artifact = { name: 'app', digest: '', sizeBytes: 1, uri: 's3://x', mediaType: '' };

/** Reads a page, and how many events it took. */
function read(entries: readonly LedgerEntry[], query: Parameters<typeof createAttemptPage>[2]) {
  const attempts: AttemptPage = createAttemptPage('default', key, query);
  const taken = entries.findIndex((entry) => !attempts.take(entry));
  return { page: attempts.page(), taken: taken === -1 ? entries.length : taken + 1 };
}

test('an attempt is told with all that its events say of it', () => {
  const { page } = read(ledgerOf(1, { a: 1 }), { after: 0, size: 5, maxBytes: 10_000 });
  expect(page).toEqual({
    items: [
      {
        project: 'default',
        ...key,
        attempt: 1,
        instance: 'of job 1',
        state: 'FAILED',
        failure: { class: 'WORKLOAD', message: 'it broke' },
        outputs: { a: 1 },
        logSize: 7,
        logState: 'SEALED',
        annotations: [
          { level: 'INFO', text: '1: 1', link: '' },
          { level: 'INFO', text: '1: 2', link: '' },
        ],
        artifacts: [artifact],
        artifactCount: 1,
        offeredMs: 60,
        startedMs: 70,
        finishedMs: 110,
      },
    ],
  });
});

test('a page ends with its size, and the rest of the ledger is not read for it', () => {
  const entries = ledgerOf(5, {});
  const { page, taken } = read(entries, { after: 1, size: 2, maxBytes: 10_000 });
  expect(page.items.map(({ attempt }) => attempt)).toEqual([2, 3]);
  expect(page.next).toBe('3');
  expect(taken).toBeLessThan(entries.length);
  expect(read(entries, { after: 3, size: 2, maxBytes: 10_000 }).page).toMatchObject({ items: { length: 2 } });
  expect(read(entries, { after: 3, size: 2, maxBytes: 10_000 }).page.next).toBeUndefined();
});

test('a page stays within its bytes, but for a single attempt that is larger', () => {
  const entries = ledgerOf(3, { text: 'x'.repeat(4_000) });
  const numbers = (after: number, maxBytes: number) => {
    const { items, next } = read(entries, { after, size: 10, maxBytes }).page;
    expect(items.length === 1 || JSON.stringify(items).length <= maxBytes).toBe(true);
    return [items.map(({ attempt }) => attempt), next];
  };
  expect(numbers(0, 12_000)).toEqual([[1, 2], '2']);
  expect(numbers(2, 12_000)).toEqual([[3], undefined]);
  expect(numbers(0, 1_000)).toEqual([[1], '1']);
  expect(numbers(0, 100_000)).toEqual([[1, 2, 3], undefined]);
});

test('an event of an attempt that was never offered is a broken ledger', () => {
  const entries = ledgerOf(1, {}).filter(({ event }) => event.type !== 'AttemptOffered');
  expect(() => read(entries, { after: 0, size: 1, maxBytes: 1_000 })).toThrow('that was not offered');
});
