import { describe, expect, test } from 'vitest';
import type { AttemptRef } from './commands.ts';
import type { JobDefinition } from './definition.ts';
import { LIMITS } from './limits.ts';
import { plannedJob } from './plan.ts';
import { jobOf } from './run-state.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';
import { create, finish, newest, start, work } from './testing/driver.ts';
import { openLedger, type SimulatedLedger, submit } from './testing/simulated-ledger.ts';

const gate = { message: '', approvers: [], quorum: 1, onTimeout: 'FAIL' } as const;

/** A run whose job 0, `plan`, runs; 1, `before`, has succeeded, 2, `bad`, has failed; 3, `end`, comes after everything. */
function planning(change: Partial<JobDefinition> = {}): SimulatedLedger {
  const ledger = openLedger(
    definitionOf(jobNamed('plan', change), jobNamed('before'), jobNamed('bad'), jobNamed('end', { when: 'FINALLY' })),
  );
  create(ledger);
  work(ledger, 1, 'SUCCEEDED');
  work(ledger, 2, 'FAILED');
  start(ledger, 0);
  return ledger;
}

function append(
  ledger: SimulatedLedger,
  jobs: readonly JobDefinition[],
  { violations = [], ...ref }: Partial<AttemptRef> & { violations?: { field: string; description: string }[] } = {},
) {
  const command = { type: 'AppendJobs' as const, ...newest(ledger, 0), ...ref, jobs, violations, content: undefined };
  return submit(ledger, command).decision.reply;
}

/** What is wrong, as `field: description`. */
function wrongIn(reply: ReturnType<typeof append>): readonly string[] {
  if (reply.type !== 'Refused') throw new Error(`it was answered by ${reply.type}`);
  return (reply.refusal.violations ?? []).map(({ field, description }) => `${field}: ${description}`);
}

const namesIn = ({ slice }: SimulatedLedger) => slice.plan.jobs.map(({ name }) => name);
const statesIn = ({ slice }: SimulatedLedger) =>
  Object.fromEntries(slice.plan.jobs.map(({ name, index }) => [name, jobOf(slice, index).state]));
const indexIn = ({ slice }: SimulatedLedger, wanted: string) =>
  slice.plan.jobs.find(({ name }) => name === wanted)?.index ?? -1;

describe('appended jobs', () => {
  test('run after what they need, and before what comes after everything', () => {
    const ledger = planning();
    const jobs = [jobNamed('now'), jobNamed('pack', { needs: ['plan'] }), jobNamed('push', { needs: ['pack'] })];
    expect(append(ledger, jobs)).toEqual({ type: 'Done' });
    expect(statesIn(ledger)).toMatchObject({ now: 'QUEUED', pack: 'BLOCKED', push: 'BLOCKED', end: 'BLOCKED' });
    expect(ledger.slice.run.counts).toMatchObject({ total: 7, open: 5 });
    finish(ledger, 0);
    expect(statesIn(ledger)).toMatchObject({ pack: 'QUEUED', push: 'BLOCKED', end: 'BLOCKED' });
    for (const name of ['now', 'pack', 'push']) work(ledger, indexIn(ledger, name), 'SUCCEEDED');
    expect(jobOf(ledger.slice, 3).state).toBe('QUEUED');
    work(ledger, 3, 'SUCCEEDED');
    expect(ledger.slice.run).toMatchObject({ state: 'FAILED', counts: { total: 7, open: 0, succeeded: 6, failed: 1 } });
  });

  test.each<[string, Partial<JobDefinition>, string]>([
    ['has succeeded', { needs: ['before'] }, 'QUEUED'],
    ['has failed', { needs: ['bad'] }, 'SKIPPED'],
    ['has failed, and that is allowed for', { needs: ['bad'], when: 'ALWAYS' }, 'QUEUED'],
    ['has failed, and that is what it is for', { needs: ['bad'], when: 'FAILURE' }, 'QUEUED'],
    ['has succeeded, though it is for a failure', { needs: ['before'], when: 'FAILURE' }, 'SKIPPED'],
    ['has succeeded, and others have not finished', { needs: ['before', 'plan'] }, 'BLOCKED'],
  ])('that need what %s', (_, change, expected) => {
    const ledger = planning();
    append(ledger, [jobNamed('more', change), jobNamed('after', { needs: ['more'], when: 'ALWAYS' })]);
    expect(statesIn(ledger)['more']).toBe(expected);
    expect(statesIn(ledger)['after']).toBe(expected === 'SKIPPED' ? 'QUEUED' : 'BLOCKED');
  });

  test('may be matrices, gates and calls', () => {
    const ledger = planning();
    const jobs = [
      jobNamed('cells', { matrix: { axes: { n: [1, 2] } } }),
      jobNamed('ask', { driver: '', gate }),
      jobNamed('sub', { driver: '', call: { pipeline: 'other', params: {} } }),
      jobNamed('told', { if: 'params.no' }),
    ];
    expect(append(ledger, jobs)).toEqual({ type: 'Done' });
    expect(statesIn(ledger)).toMatchObject({
      cells: 'WAITING',
      'cells[1]': 'QUEUED',
      'cells[2]': 'QUEUED',
      ask: 'WAITING',
      sub: 'WAITING',
      told: 'SKIPPED',
    });
    const last = plannedJob(ledger.slice.plan, 3);
    expect(last.needs).toEqual(
      expect.arrayContaining(['cells', 'ask', 'sub', 'told'].map((name) => indexIn(ledger, name))),
    );
  });

  test('may append others, and go on to do so after what appended them has ended', () => {
    const ledger = planning();
    append(ledger, [jobNamed('more')]);
    finish(ledger, 0);
    const more = indexIn(ledger, 'more');
    start(ledger, more);
    expect(append(ledger, [jobNamed('yet-more', { needs: ['more'] })], newest(ledger, more))).toEqual({ type: 'Done' });
    finish(ledger, more);
    expect(statesIn(ledger)).toMatchObject({ 'yet-more': 'QUEUED', end: 'BLOCKED' });
  });
});

describe('jobs that the run has already', () => {
  test('as they are, are not appended again, by whatever attempt', () => {
    const ledger = planning({ retry: { ...jobNamed('').retry, initialBackoffMs: 0 } });
    const jobs = [jobNamed('pack'), jobNamed('push', { needs: ['pack'] })];
    append(ledger, jobs);
    const events = ledger.entries.length;
    expect(append(ledger, jobs)).toEqual({ type: 'Done' });
    expect(append(ledger, [jobNamed('before')])).toEqual({ type: 'Done' });
    expect(ledger.entries).toHaveLength(events);
    expect(append(ledger, [...jobs, jobNamed('more', { needs: ['push'] })])).toEqual({ type: 'Done' });
    expect(namesIn(ledger)).toEqual(['plan', 'before', 'bad', 'end', 'pack', 'push', 'more']);
  });

  test('stay appended, whatever is found wrong with them, or asked of the run, later', () => {
    const ledger = planning();
    const jobs = [jobNamed('pack')];
    append(ledger, jobs);
    expect(append(ledger, jobs, { violations: [{ field: 'jobs[0].spec', description: 'is no good' }] })).toEqual({
      type: 'Done',
    });
    submit(ledger, { type: 'CancelRun', reason: '', force: false });
    expect(append(ledger, jobs)).toEqual({ type: 'Done' });
  });
});

describe('jobs are refused, and none of them is appended,', () => {
  const wide = jobNamed('wide', { spec: { text: 'x'.repeat(60_000) } });
  const cases: [string, JobDefinition[], string[]][] = [
    [
      'a need that there is none of',
      [jobNamed('a', { needs: ['befor'] })],
      ['jobs[0].needs[0]: there is no job "befor"'],
    ],
    [
      'a cycle',
      [jobNamed('a', { needs: ['b'] }), jobNamed('b', { needs: ['a'] })],
      ['jobs[1].needs[0]: closes a cycle: a -> b -> a'],
    ],
    ['a name that is taken', [jobNamed('plan', { secrets: ['x'] })], ['jobs[0].name: the run has another job "plan"']],
    [
      'a secret that the job has not itself',
      [jobNamed('a', { secrets: ['token'] })],
      ['jobs[0].secrets[0]: "plan" does not ask for "token" itself'],
    ],
    ['the same name twice', [jobNamed('a'), jobNamed('a')], ['jobs[1].name: "a" is also the name of jobs[0]']],
    ['what comes after everything', [jobNamed('a', { when: 'FINALLY' })], ['jobs[0].when: must not be FINALLY']],
    ['a need of what does', [jobNamed('a', { needs: ['end'] })], ['jobs[0].needs[0]: "end" is FINALLY']],
    [
      'several at once',
      [jobNamed('a', { needs: ['x-x'] }), jobNamed('bad', { driver: 'y' })],
      ['jobs[1].name: the run has another job "bad"', 'jobs[0].needs[0]: there is no job "x-x"'],
    ],
    [
      'more than the run may have',
      Array.from({ length: LIMITS.jobsPerRun - 3 }, (_, n) => jobNamed(`n${n}`)),
      [`jobs: with them the run has ${LIMITS.jobsPerRun + 1} jobs, at most ${LIMITS.jobsPerRun} are allowed`],
    ],
    [
      'too many bytes',
      Array.from({ length: 18 }, (_, n) => ({ ...wide, name: `wide-${n}` })),
      ['jobs: with them what was appended has'],
    ],
    [
      'too many matrices',
      Array.from({ length: LIMITS.matrices + 1 }, (_, n) => jobNamed(`m${n}`, { matrix: { axes: { n: [1] } } })),
      [`jobs: with them ${LIMITS.matrices + 1} jobs of the run have a matrix`],
    ],
  ];
  test.each(cases)('for %s', (_, jobs, expected) => {
    const ledger = planning();
    const events = ledger.entries.length;
    const wrong = wrongIn(append(ledger, jobs));
    for (const text of expected) expect(wrong.join('\n')).toContain(text);
    expect(ledger.entries).toHaveLength(events);
  });

  test('for a need of a cell, which a rerun may not have', () => {
    const ledger = planning();
    append(ledger, [jobNamed('m', { matrix: { axes: { n: [1, 2] } } })]);
    expect(wrongIn(append(ledger, [jobNamed('a', { needs: ['m[1]'] }), jobNamed('b', { needs: ['m'] })]))).toEqual([
      'jobs[0].needs[0]: "m[1]" is a cell, which a rerun may not have: need "m", its matrix',
    ]);
    expect(append(ledger, [jobNamed('a', { needs: ['m'] })])).toEqual({ type: 'Done' });
  });

  test('for what was found wrong before, together with the rest', () => {
    const ledger = planning();
    const violations = [{ field: 'jobs[0].driver', description: 'is required' }];
    expect(wrongIn(append(ledger, [jobNamed('a', { needs: ['nobody'] })], { violations }))).toEqual([
      'jobs[0].driver: is required',
      'jobs[0].needs[0]: there is no job "nobody"',
    ]);
    expect(wrongIn(append(ledger, [jobNamed('a')], { violations }))).toHaveLength(1);
    expect(wrongIn(append(ledger, [], { violations }))).toHaveLength(1);
    expect(namesIn(ledger)).toHaveLength(4);
  });

  test('when it has been done too often, or would be too much in all', () => {
    const ledger = planning();
    for (let n = 0; n < LIMITS.appends; n++) append(ledger, [jobNamed(`n${n}`)]);
    expect(wrongIn(append(ledger, [jobNamed('last')])).join()).toContain(`${LIMITS.appends} times`);
    expect(append(ledger, [jobNamed('n7')])).toEqual({ type: 'Done' });
    const large = planning();
    const some = (from: number) => Array.from({ length: 10 }, (_, n) => ({ ...wide, name: `wide-${from + n}` }));
    expect(append(large, some(0))).toEqual({ type: 'Done' });
    expect(wrongIn(append(large, some(10))).join()).toContain('with them what was appended has');
  });

  test('by a job that comes after everything', () => {
    const ledger = openLedger(definitionOf(jobNamed('end', { when: 'FINALLY' })));
    create(ledger);
    start(ledger, 0);
    expect(wrongIn(append(ledger, [jobNamed('more')]))).toEqual(['jobs: "end" is FINALLY: nothing comes after it']);
  });

  test.each<[string, (ledger: SimulatedLedger) => void]>([
    ['its run', (ledger) => submit(ledger, { type: 'CancelRun', reason: '', force: false })],
    ['its job', (ledger) => submit(ledger, { type: 'CancelJob', job: 0, reason: '' })],
  ])('by an attempt when %s is cancelled', (_, cancel) => {
    const ledger = planning({ when: 'ALWAYS' });
    cancel(ledger);
    expect(append(ledger, [jobNamed('more')])).toMatchObject({
      type: 'Refused',
      refusal: { refused: 'CANCEL_REQUESTED' },
    });
  });
});

test('who does not hold the attempt, or has not begun, appends nothing', () => {
  const ledger = planning();
  const jobs = [jobNamed('more')];
  expect(append(ledger, jobs, { attempt: 2 })).toMatchObject({ type: 'Stale' });
  expect(append(ledger, jobs, { instance: 99 })).toMatchObject({ type: 'Stale' });
  expect(append(ledger, jobs, { job: 3 })).toMatchObject({ type: 'Stale' });
  finish(ledger, 0);
  expect(append(ledger, jobs)).toMatchObject({ type: 'Stale' });
  expect(namesIn(ledger)).toHaveLength(4);
});
