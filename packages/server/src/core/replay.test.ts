import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Command } from './commands.ts';
import { jsonBytes } from './check-fields.ts';
import type { RunEvent } from './events.ts';
import { LIMITS } from './limits.ts';
import { createReplay, type LedgerEntry, type RunPoint, startPoint } from './replay.ts';
import type { RunSlice } from './run-state.ts';
import { definitionOf, definitions, jobNamed } from './testing/definitions.ts';
import { create, finish, newest, offer, start } from './testing/driver.ts';
import { commandFor, type RandomStep, randomSteps } from './testing/random-commands.ts';
import { openLedger, type SimulatedLedger, submit } from './testing/simulated-ledger.ts';

/** A ledger that lived, and the run as each decision left it, by the `seq` of the decision's last event. */
interface Recording {
  readonly ledger: SimulatedLedger;
  readonly committed: ReadonlyMap<number, Pick<RunSlice, 'run' | 'jobs'>>;
}

function record(ledger: SimulatedLedger, steps: readonly RandomStep[]): Recording {
  const committed = new Map<number, Pick<RunSlice, 'run' | 'jobs'>>();
  const history: Command[] = [];
  create(ledger);
  const note = (): void => {
    const { run, jobs } = ledger.slice;
    if (!committed.has(run.seq)) committed.set(run.seq, structuredClone({ run, jobs }));
  };
  note();
  for (const step of steps) {
    const meant = commandFor(ledger, step, history);
    if (meant === undefined) continue;
    ledger.nowMs = Math.max(ledger.nowMs, meant.nowMs);
    history.push(meant.command);
    submit(ledger, meant.command, meant.nowMs);
    note();
  }
  return { ledger, committed };
}

/** The events as they are stored. */
function entriesOf({ entries }: SimulatedLedger): LedgerEntry[] {
  const stored = JSON.parse(JSON.stringify(entries)) as SimulatedLedger['entries'];
  return stored.map((entry, i) => ({ ...entry, seq: i + 1 }));
}

function pointAt(from: RunPoint, entries: readonly LedgerEntry[], seq: number): RunPoint {
  const replay = createReplay(from);
  for (const entry of entries.slice(from.run.seq, seq)) replay.take(entry);
  return replay.point();
}

test('a replay up to any event that ended a decision is the run as that decision left it', () => {
  fc.assert(
    fc.property(definitions, randomSteps, (definition, steps) => {
      const { ledger, committed } = record(openLedger(definition), steps);
      const entries = entriesOf(ledger);
      for (const [seq, { run, jobs }] of committed) {
        const point = pointAt(startPoint(ledger.slice.plan), entries, seq);
        expect({ run: point.run, jobs: point.jobs }).toEqual({ run, jobs });
      }
      expect(committed.get(entries.length)).toEqual({ run: ledger.slice.run, jobs: ledger.slice.jobs });
    }),
    { numRuns: 200 },
  );
});

test('a replay that goes on from a point comes to the same as one from the start, and leaves the point as it was', () => {
  fc.assert(
    fc.property(definitions, randomSteps, fc.nat(), fc.nat(), (definition, steps, some, other) => {
      const { ledger } = record(openLedger(definition), steps);
      const entries = entriesOf(ledger);
      const [first, second] = [1 + (some % entries.length), 1 + (other % entries.length)].sort((a, b) => a - b);
      const start = startPoint(ledger.slice.plan);
      const from = pointAt(start, entries, first!);
      // What is compiled of its plan is kept beside it.
      const partsOf = ({ plan, ...rest }: typeof from) => ({
        ...rest,
        planned: plan.jobs,
        definition: plan.definition,
      });
      const kept = structuredClone(partsOf(from));
      expect(pointAt(from, entries, second!)).toEqual(pointAt(start, entries, second!));
      expect(partsOf(from)).toEqual(kept);
    }),
    { numRuns: 200 },
  );
});

test('outputs are found in the end of the newest attempt, and not once another one is offered', () => {
  const ledger = openLedger(definitionOf(jobNamed('work', { retry: retrying })));
  const places = (): unknown => {
    const entries = entriesOf(ledger);
    return Object.fromEntries(pointAt(startPoint(ledger.slice.plan), entries, entries.length).outputs);
  };
  create(ledger);
  start(ledger, 0);
  ledger.attempts.set('0.1', { ...ledger.attempts.get('0.1')!, outputs: { digest: 'ä' } });
  expect(places()).toEqual({});
  finish(ledger, 0, { outcome: 'FAILED' });
  const seq = ledger.entries.findIndex(({ event }) => event.type === 'AttemptEnded') + 1;
  expect(places()).toEqual({ 0: { seq, bytes: jsonBytes({ digest: 'ä' }) } });
  offer(ledger, 0);
  expect(places()).toEqual({});
  submit(ledger, { type: 'Accept', ...newest(ledger, 0) });
  finish(ledger, 0);
  expect(places()).toEqual({});
});

test('artifacts and annotations are found where the newest attempt told them, the first artifacts only', () => {
  const ledger = openLedger(definitionOf(jobNamed('work', { retry: retrying })));
  const entries: LedgerEntry[] = [];
  const told = (): unknown => Object.fromEntries(pointAt(startPoint(ledger.slice.plan), entries, entries.length).told);
  const tell = (event: RunEvent): number => entries.push({ seq: entries.length + 1, timeMs: 0, event });
  create(ledger);
  start(ledger, 0);
  entries.push(...entriesOf(ledger));
  const artifact = { name: 'a', digest: '', sizeBytes: 0, uri: '', mediaType: '' };
  const seqs = Array.from({ length: LIMITS.shownArtifacts + 2 }, (_, number) =>
    tell({ type: 'AttemptArtifact', job: 0, attempt: 1, number: number + 1, artifact }),
  );
  const annotation = tell({
    type: 'AttemptAnnotated',
    job: 0,
    attempt: 1,
    number: 1,
    annotation: { level: 'INFO', text: 'a note', link: '' },
  });
  const artifacts = seqs.slice(0, LIMITS.shownArtifacts);
  expect(told()).toEqual({ 0: { artifacts, artifactCount: seqs.length, annotation } });
  finish(ledger, 0, { outcome: 'FAILED' });
  offer(ledger, 0);
  for (const { event } of ledger.entries.slice(3)) tell(event);
  expect(told()).toEqual({});
});

const retrying = {
  ...jobNamed('any').retry,
  budgets: { WORKLOAD: 1, DRIVER: 0, INFRASTRUCTURE: 0, TIMEOUT: 0, REJECTED: 0 },
  initialBackoffMs: 0,
  jitter: 0,
};
