import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Command } from '../core/commands.ts';
import type { JobKey, RunId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import type { AttemptView, JobView, RunView } from '../core/views.ts';
import { moveLogHeads } from '../store/log-rows.ts';
import { withConnection } from '../store/pool.ts';
import { createJobQueries } from './job-queries.ts';
import { createRunDeletion } from './run-deletion.ts';
import { createRunHistory, type RunHistory } from './run-history.ts';
import { createRunQueries } from './run-queries.ts';
import { type Ask, asksBy } from './testing/asks.ts';
import { type LedgerFixture, openTestLedger } from './testing/ledger-fixture.ts';

let ledger: LedgerFixture;
let history: RunHistory;
let runs: ReturnType<typeof createRunQueries>;
let jobs: ReturnType<typeof createJobQueries>;
let asks: ReturnType<typeof asksBy>;
let instance: number;
const { signal } = new AbortController();
const retry = {
  ...jobNamed('any').retry,
  budgets: { WORKLOAD: 2, DRIVER: 0, INFRASTRUCTURE: 1, TIMEOUT: 0, REJECTED: 2 },
  initialBackoffMs: 0,
};
const graph = definitionOf(
  jobNamed('build', { retry }),
  jobNamed('test', { needs: ['build'], retry, allowFailure: true }),
  jobNamed('report', { needs: ['test'], when: 'ALWAYS' }),
  jobNamed('lint', { retry: { ...retry, initialBackoffMs: 60_000 } }),
);

beforeAll(async () => {
  ledger = await openTestLedger();
  history = createRunHistory(ledger);
  runs = createRunQueries(ledger);
  jobs = createJobQueries(ledger);
  instance = await ledger.connect('shell', 'i-1');
  asks = asksBy(instance, 'i-1');
});
afterAll(() => ledger[Symbol.asyncDispose]());

/** A run with its jobs and attempts as they are shown. */
interface Shown {
  readonly run: RunView;
  readonly jobs: readonly JobView[];
  readonly attempts: readonly (readonly AttemptView[])[];
}

async function shownNow(runId: RunId): Promise<Shown> {
  const { items } = await jobs.list('default', runId, [], [], { size: 100 });
  const attempts = await Promise.all(
    items.map(({ job }) => jobs.listAttempts('default', { runId, job }, { size: 100 })),
  );
  return { run: await runs.get('default', runId), jobs: items, attempts: attempts.map((page) => page.items) };
}

async function shownAt(runId: RunId, seq: number, of = history): Promise<Shown> {
  const run = await of.runs.getAt('default', runId, seq, signal);
  const { items } = await of.jobs.listAt('default', runId, seq, [], [], { size: 100 }, signal);
  const attempts: AttemptView[][] = [];
  for (const { job } of items) {
    const page = await of.jobs.listAttemptsAt('default', { runId, job }, seq, { size: 100 }, signal);
    attempts.push([...page.items]);
  }
  return { run, jobs: items, attempts };
}

/** What the ledger does not hold is left out: how far a running attempt is, and what it has written so far. */
function asOfLedger(shown: Shown): Shown {
  return {
    run: shown.run,
    jobs: shown.jobs.map(({ progress: _progress, ...job }) => job),
    attempts: shown.attempts.map((attempts) =>
      attempts.map(({ progress: _progress, outputs, ...attempt }) => ({
        ...attempt,
        ...(attempt.finishedMs !== undefined && outputs !== undefined && { outputs }),
      })),
    ),
  };
}

async function note({ runId, job }: JobKey, attempt: number, outputs: JsonObject): Promise<void> {
  const progress = { phase: 'RUNNING' as const, message: 'on it' };
  const row = { key: { runId, job, attempt }, logSize: 0, logCrc32c: 0, outputs, progress, checkpoint: undefined };
  await withConnection(ledger.pool, (tx) => moveLogHeads(tx, [row]));
}

/** Most of a run's life is work; the rest comes seldom. */
const steps: fc.Arbitrary<{ job: number; ask: Ask | 'work' }[]> = fc.array(
  fc.record({
    job: fc.nat(3),
    ask: fc.oneof(
      { weight: 12, arbitrary: fc.constantFrom('offer', 'accept', 'work', 'succeed', 'fail') },
      { weight: 4, arbitrary: fc.constantFrom('reject', 'annotate', 'lose', 'hold', 'release', 'retry', 'resume') },
      { weight: 1, arbitrary: fc.constantFrom('pause', 'cancel', 'cancelRun') },
    ),
  }),
  { minLength: 5, maxLength: 40 },
);

/** A life that meets almost every state, whatever the others meet. */
const full = (
  [
    [0, ['offer', 'reject', 'work', 'lose', 'work', 'work', 'fail', 'work', 'fail', 'work', 'fail']],
    [2, ['work', 'annotate', 'succeed']],
    [3, ['pause', 'hold', 'resume', 'release', 'work', 'cancel', 'cancelRun', 'succeed']],
  ] as const
).flatMap(([job, asked]) => asked.map((ask) => ({ job, ask })));

test('whatever became of a run, it is shown at each of its events as it was stored then', async () => {
  const states = new Set<string>();
  await fc.assert(
    fc.asyncProperty(steps, async (life) => {
      const runId = await ledger.create(graph, { params: { a: 1 }, labels: { sha: 'f00' }, pipeline: 'ci' });
      const stored = new Map<number, Shown>([[1, await shownNow(runId)]]);
      for (const { job, ask } of life) {
        const { attempt, state } = await jobs.get('default', { runId, job });
        if (ask === 'work') {
          if (state === 'RUNNING') await note({ runId, job }, attempt, { done: attempt });
          await ledger.submit(runId, asks.offer(job, attempt));
          await ledger.submit(runId, asks.accept(job, attempt + 1));
        } else {
          await ledger.submit(runId, asks[ask](job, attempt));
        }
        const shown = await shownNow(runId);
        for (const view of [shown.run, ...shown.jobs, ...shown.attempts.flat()]) states.add(view.state);
        // A later step may write what belongs to no event, such as outputs of an attempt that runs.
        if (!stored.has(shown.run.seq)) stored.set(shown.run.seq, shown);
      }
      const forwards = createRunHistory(ledger);
      for (const [seq, shown] of stored) expect(await shownAt(runId, seq, forwards)).toEqual(asOfLedger(shown));
      const backwards = createRunHistory(ledger);
      for (const [seq, shown] of [...stored].reverse()) {
        expect(await backwards.runs.getAt('default', runId, seq, signal)).toEqual(shown.run);
      }
    }),
    { numRuns: 12, examples: [[full]] },
  );
  const met = 'PENDING BLOCKED QUEUED WAITING OFFERED RUNNING CANCELLING FAILED SUCCEEDED SKIPPED LOST REJECTED'.split(
    ' ',
  );
  expect([...states]).toEqual(expect.arrayContaining(met));
});

test('between the events of one decision, job and run are in the states that each event tells', async () => {
  const runId = await ledger.create(graph);
  await ledger.submit(runId, asks.offer(0, 0));
  await ledger.submit(runId, asks.accept(0, 1));
  await ledger.submit(runId, asks.cancelRun(0, 0));
  await ledger.submit(runId, asks.succeed(0, 1));
  const { rows } = await ledger.pool.query<{ seq: number; run_state: string; job: number | null; job_state: string }>(
    'select seq, run_state, job, job_state from events where run_id = $1 order by seq',
    [runId],
  );
  expect(rows.length).toBeGreaterThan(6);
  for (const { seq, run_state: state, job, job_state: jobState } of rows) {
    expect(await history.runs.getAt('default', runId, seq, signal)).toMatchObject({ state, seq });
    if (job === null) continue;
    expect(await history.jobs.getAt('default', { runId, job }, seq, signal)).toMatchObject({ state: jobState });
  }
});

test('a finished job has the outputs of its last attempt, and its definition', async () => {
  const key = { runId: await ledger.create(graph), job: 0 };
  await ledger.submit(key.runId, asks.offer(0, 0));
  await ledger.submit(key.runId, asks.accept(0, 1));
  await note(key, 1, { image: 'sha256:1' });
  await ledger.submit(key.runId, asks.succeed(0, 1));
  const { seq } = await runs.get('default', key.runId);
  const finished = await history.jobs.getAt('default', key, seq, signal);
  expect(finished).toMatchObject({ state: 'SUCCEEDED', outputs: { image: 'sha256:1' }, definition: graph.jobs[0] });
  expect((await history.jobs.getAt('default', key, 3, signal)).outputs).toBeUndefined();
  const [listed] = (await history.jobs.listAt('default', key.runId, seq, [], ['build'], { size: 1 }, signal)).items;
  expect(listed).toMatchObject({ outputs: { image: 'sha256:1' } });
});

test('what failed and why something was cancelled is told by the difference, and shown at its event as it is now', async () => {
  const wrong = jobNamed('wrong', { needs: ['first'], spec: { env: '${{ params.env.name }}' } });
  const runId = await ledger.create(definitionOf(jobNamed('first'), wrong, jobNamed('gone')), {
    params: { env: 'test' },
  });
  await ledger.submit(runId, { type: 'CancelJob', job: 2, reason: 'a typo' });
  await ledger.submit(runId, asks.offer(0, 0));
  await ledger.submit(runId, asks.accept(0, 1));
  const before = (await runs.get('default', runId)).seq;
  await ledger.submit(runId, asks.succeed(0, 1));
  const { seq } = await runs.get('default', runId);
  for (const job of [1, 2]) {
    const shown = await history.jobs.getAt('default', { runId, job }, seq, signal);
    expect(shown).toEqual(await jobs.get('default', { runId, job }));
    expect(shown).toMatchObject(job === 1 ? { expressionFailures: { count: 1 } } : { cancelReason: 'a typo' });
  }
  const changesOf = async (from: number, job: number) => {
    const { items } = (await history.runs.diff('default', runId, from, seq, { size: 10 }, signal)).jobs;
    return items.find((item) => item.job === job)?.changedFields;
  };
  expect(await changesOf(before, 1)).toEqual(
    expect.arrayContaining(['failure', 'expression_failures', 'expression_failure_count']),
  );
  expect(await changesOf(before, 2)).toBeUndefined();
  expect(await changesOf(1, 2)).toEqual(['state', 'finish_time', 'cancel_reason']);
});

test('what changes no state of a job is shown at its event too, and told by the difference', async () => {
  const gate = { message: '', approvers: [], quorum: 3, onTimeout: 'FAIL' } as const;
  const work = jobNamed('work', { spec: { env: '${{ params.env }}' } });
  const runId = await ledger.create(definitionOf(work, jobNamed('ask', { driver: '', gate })), {
    params: { env: 'test' },
  });
  const answer = { type: 'AnswerGate', job: 1, groups: [], comment: '' } as const;
  const declare = (number: number): Command => ({
    type: 'Declare',
    job: 0,
    attempt: 1,
    instance,
    number,
    content: undefined,
    artifact: { name: `a-${number}`, digest: 'sha256:00', sizeBytes: number, uri: '', mediaType: '' },
  });
  await ledger.submit(runId, asks.offer(0, 0));
  await ledger.submit(runId, asks.accept(0, 1));
  const told: [Command, number, string][] = [
    [declare(1), 0, 'artifacts'],
    [declare(2), 0, 'artifacts'],
    [asks.annotate(0, 1), 0, 'annotations'],
    [{ ...answer, actor: 'ada', verdict: 'APPROVE', answers: { a: 1 } }, 1, 'gate_answers'],
    [{ ...answer, actor: 'bob', verdict: 'APPROVE', answers: {} }, 1, 'gate_answers'],
    [{ ...answer, actor: 'ada', verdict: 'APPROVE', answers: { a: 2 } }, 1, 'gate_answers'],
  ];
  for (const [command, job, field] of told) {
    const before = (await runs.get('default', runId)).seq;
    await ledger.submit(runId, command);
    const { seq } = await runs.get('default', runId);
    expect(seq).toBe(before + 1);
    expect(await history.jobs.getAt('default', { runId, job }, seq, signal)).toEqual(
      await jobs.get('default', { runId, job }),
    );
    const { items } = (await history.runs.diff('default', runId, before, seq, { size: 10 }, signal)).jobs;
    expect(items).toMatchObject([{ job, changedFields: [field] }]);
  }
  const { seq } = await runs.get('default', runId);
  const shown = await history.jobs.getAt('default', { runId, job: 0 }, seq, signal);
  expect(shown).toMatchObject({
    artifactCount: 2,
    artifacts: [{ name: 'a-1' }, { name: 'a-2' }],
    spec: { env: 'test' },
  });
  expect(await history.jobs.getAt('default', { runId, job: 0 }, seq - 5, signal)).toMatchObject({ artifactCount: 1 });
  expect((await history.jobs.getAt('default', { runId, job: 0 }, 1, signal)).artifacts).toBeUndefined();
});

describe('a point that a run does not have is refused, with the range:', () => {
  const refusal = (field: string, description: string): unknown => ({
    refusal: { refused: 'INVALID_FIELD', violations: [{ field, description }] },
  });

  test.each([0, -1, 2, 2 ** 40])('%s of 1', async (seq) => {
    const runId = await ledger.create(graph);
    const wrong = refusal('at_seq', `must be from 1 to 1, the \`seq\` of the run's newest event; got ${seq}`);
    const page = { size: 10 };
    await expect(history.runs.getAt('default', runId, seq, signal)).rejects.toMatchObject(wrong as object);
    await expect(history.jobs.getAt('default', { runId, job: 0 }, seq, signal)).rejects.toMatchObject(wrong as object);
    await expect(history.jobs.listAt('default', runId, seq, [], [], page, signal)).rejects.toMatchObject(
      wrong as object,
    );
    await expect(history.jobs.listAttemptsAt('default', { runId, job: 0 }, seq, page, signal)).rejects.toMatchObject(
      wrong as object,
    );
  });

  test.each([
    [1, 5, 'to_seq', "must be from 1 to 4, the `seq` of the run's newest event; got 5"],
    [3, 2, 'from_seq', 'must be from 1 to 2, `to_seq`; got 3'],
    [9, undefined, 'from_seq', 'must be from 1 to 4, `to_seq`; got 9'],
  ])('from %s to %s', async (from, to, field, description) => {
    const runId = await ledger.create(graph);
    for (const ask of ['hold', 'release', 'hold'] as const) await ledger.submit(runId, asks[ask](1, 0));
    await expect(history.runs.diff('default', runId, from, to, { size: 10 }, signal)).rejects.toMatchObject(
      refusal(field, description) as object,
    );
  });
});

test('what is not there, or of another project, is not found', async () => {
  const runId = await ledger.create(graph, { project: 'mine' });
  const run = { refusal: { refused: 'RUN_NOT_FOUND' } };
  const job = { refusal: { refused: 'JOB_NOT_FOUND' } };
  const page = { size: 10 };
  await expect(history.runs.getAt('theirs', runId, 1, signal)).rejects.toMatchObject(run);
  await expect(history.runs.diff('theirs', runId, 1, 1, page, signal)).rejects.toMatchObject(run);
  await expect(history.jobs.listAt('theirs', runId, 1, [], [], page, signal)).rejects.toMatchObject(run);
  await expect(history.jobs.getAt('theirs', { runId, job: 0 }, 1, signal)).rejects.toMatchObject(job);
  await expect(history.jobs.getAt('mine', { runId, job: 4 }, 1, signal)).rejects.toMatchObject(job);
  await expect(history.jobs.listAttemptsAt('mine', { runId, job: 4 }, 1, page, signal)).rejects.toMatchObject(job);
});

test('a run that was deleted is shown at none of its events, though it was before', async () => {
  const runId = await ledger.create(definitionOf(jobNamed('build')));
  await ledger.submit(runId, asks.cancelRun(0, 0));
  await history.runs.getAt('default', runId, 1, signal);
  await createRunDeletion({ pool: ledger.pool, onDeleted: () => undefined }).delete('default', runId);
  await expect(history.runs.getAt('default', runId, 1, signal)).rejects.toMatchObject({
    refusal: { refused: 'RUN_NOT_FOUND' },
  });
});
