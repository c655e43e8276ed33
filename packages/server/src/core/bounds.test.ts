// Bounds that a run works out: what is recorded of them, what is used, and what fails the job.
import { describe, expect, it, test } from 'vitest';
import { BOUND_VERSION, LANGUAGE_VERSION } from './event-versions.ts';
import type { Bound, Definition, JobDefinition } from './definition.ts';
import type { RunEvent } from './events.ts';
import { decide } from './decide.ts';
import { beforeFirstEvent } from './evolve.ts';
import { compilePlan, versionNeeded } from './plan.ts';
import { type JobRecord, jobOf } from './run-state.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';
import { create, finish, start, work } from './testing/driver.ts';
import { checkReplay } from './testing/invariants.ts';
import { openLedger, PARAMS, type SimulatedLedger } from './testing/simulated-ledger.ts';

const count = PARAMS['count'];

function created(...jobs: JobDefinition[]): SimulatedLedger {
  const ledger = openLedger(definitionOf(...jobs));
  create(ledger);
  return ledger;
}

const inGroup = (limit: Bound): Partial<JobDefinition> => ({ concurrency: { key: 'g', limit, policy: 'QUEUE' } });
const ofRate = (limit: Bound, cost = 1) => ({ key: 'r', limit, periodMs: 1_000, cost });
const overCells = (maxParallel: Bound): Partial<JobDefinition> => ({
  matrix: { axes: { n: [1, 2, 3, 4] }, maxParallel },
});

function messageOf(job: JobRecord): string | undefined {
  return 'failure' in job ? `${job.failure?.class}: ${job.failure?.message}` : undefined;
}

function eventOf<Type extends RunEvent['type']>(ledger: SimulatedLedger, type: Type) {
  return ledger.entries.map(({ event }) => event).find((event) => event.type === type);
}

describe('the limit of a group', () => {
  it('is recorded as what its expression came to, and nothing is recorded of a number', () => {
    const ledger = created(jobNamed('a', inGroup('${{ params.count }}')), jobNamed('b', inGroup(2)));
    expect(jobOf(ledger.slice, 0).details).toEqual({ group: 'g', groupLimit: count });
    expect(jobOf(ledger.slice, 1).details).toEqual({ group: 'g' });
    checkReplay(ledger);
  });

  it('may read what a need has put out, and the cell that it is of', () => {
    const ledger = created(
      jobNamed('plan'),
      jobNamed('cells', { ...overCells(4), ...inGroup('${{ matrix.n + 1 }}') }),
      jobNamed('late', { needs: ['plan'], ...inGroup('${{ needs.plan.outputs.key1 + 1 }}') }),
    );
    start(ledger, 0);
    ledger.attempts.set('0.1', { ...ledger.attempts.get('0.1')!, outputs: { key1: 4 } });
    finish(ledger, 0);
    expect(jobOf(ledger.slice, 2).details).toMatchObject({ groupLimit: 5 });
    expect(jobOf(ledger.slice, 5).details).toMatchObject({ groupLimit: 4 });
  });
});

test('the limits of rates are recorded together once one of them is worked out', () => {
  const ledger = created(jobNamed('a', { rateLimits: [ofRate('${{ params.count }}'), { ...ofRate(7), key: 's' }] }));
  expect(jobOf(ledger.slice, 0).details).toEqual({ rates: ['r', 's'], rateLimits: [count, 7] });
  checkReplay(ledger);
});

describe('how many cells may be open', () => {
  const open = (ledger: SimulatedLedger): readonly number[] =>
    [1, 2, 3, 4].filter((index) => jobOf(ledger.slice, index).state === 'QUEUED');

  it('is worked out when they are made, recorded beside them, and kept to as they finish', () => {
    const ledger = created(jobNamed('m', overCells('${{ params.count - 1 }}')));
    expect(eventOf(ledger, 'JobsAdded')).toMatchObject({ maxParallel: 2 });
    expect(ledger.slice.plan.jobs[0]).toMatchObject({ maxParallel: 2 });
    expect(open(ledger)).toEqual([1, 2]);
    work(ledger, 1, 'SUCCEEDED');
    expect(open(ledger)).toEqual([2, 3]);
    for (const cell of [2, 3, 4]) work(ledger, cell, 'SUCCEEDED');
    expect(ledger.slice.run.state).toBe('SUCCEEDED');
    checkReplay(ledger);
  });
});

describe('a job fails as INVALID, and those that need it see that, when', () => {
  const cases: readonly (readonly [string, Partial<JobDefinition>, string])[] = [
    [
      'its limit is a text',
      inGroup('${{ params.list[0] }}'),
      'must become a whole number from 1 to 10000; it became "a"',
    ],
    ['its limit is nothing', inGroup('${{ params.count - 3 }}'), 'from 1 to 10000; it became 0'],
    ['its limit is no whole number', inGroup('${{ double(params.count) / 2.0 }}'), 'it became 1.5'],
    ['its limit is null', inGroup('${{ params.yes ? null : 1 }}'), 'it became null'],
    ['its limit is too large', inGroup('${{ params.count + 9998 }}'), 'it became 10001'],
    ['its limit is a number as text', inGroup('${{ string(params.count) }}'), 'int(…) makes a number of a text'],
    [
      'its limit cannot be worked out',
      inGroup('${{ params.missing }}'),
      'concurrency.limit_expression: "params.missing"',
    ],
    [
      'a rate is a truth',
      { rateLimits: [ofRate('${{ params.yes }}')] },
      'its rate limit "r" must become a whole number',
    ],
    ['a rate is too large', { rateLimits: [ofRate('${{ params.count * 1000000 }}')] }, 'from 1 to 1000000'],
    [
      'a rate never has its tokens',
      { rateLimits: [ofRate('${{ params.count }}', 4)] },
      'became 3, and the job takes 4',
    ],
    [
      'no cell may be open',
      overCells('${{ params.count - 3 }}'),
      'max_parallel must become a whole number from 1 to 1000',
    ],
    ['its cells are bounded by a text', overCells('${{ params.list[0] }}'), 'max_parallel must become a whole number'],
    ['its cells have an error', overCells('${{ params.missing }}'), 'matrix.max_parallel_expression: "params.missing"'],
  ];
  it.each(cases)('%s', (_, change, told) => {
    const ledger = created(
      jobNamed('a', change),
      jobNamed('on-failure', { needs: ['a'], when: 'FAILURE', if: 'needs.a.failure == "INVALID"' }),
      jobNamed('after', { needs: ['a'] }),
    );
    expect(messageOf(jobOf(ledger.slice, 0))).toMatch(/^INVALID: /);
    expect(messageOf(jobOf(ledger.slice, 0))).toContain(told);
    expect(jobOf(ledger.slice, 1).state).toBe('QUEUED');
    expect(jobOf(ledger.slice, 2).state).toBe('SKIPPED');
    checkReplay(ledger);
  });

  it('its condition was worked out before, and is told with it', () => {
    const ledger = created(jobNamed('a', { if: 'params.yes', ...inGroup('${{ params.missing }}') }));
    expect(jobOf(ledger.slice, 0).details?.condition).toMatchObject({ held: true });
  });
});

test('the steps of limits count with those of all other expressions of a decision', () => {
  const limit = '${{ params.list.filter(x, x.endsWith("zz")).size() + 1 }}';
  const plan = compilePlan(definitionOf(jobNamed('a', inGroup(limit)), jobNamed('m', overCells(limit))));
  const trigger = { kind: 'api', actor: '', reference: '' };
  const list = Array.from({ length: 1_000 }, (_, n) => `entry${n}`);
  const facts = { runId: 'run', project: 'default', params: { list }, labels: {}, trigger, outputs: new Map() };
  const { after } = decide({ ...beforeFirstEvent(plan), facts }, { type: 'Create', trigger }, 1_000);
  expect(after.working?.steps).toBeGreaterThan(2_000);
});

test.each<[number, Definition]>([
  [1, definitionOf(jobNamed('a'))],
  [LANGUAGE_VERSION, definitionOf(jobNamed('a', inGroup(1)))],
  [BOUND_VERSION, definitionOf(jobNamed('a', inGroup('${{ params.n }}')))],
  [BOUND_VERSION, definitionOf(jobNamed('a', overCells('${{ params.n }}')))],
  [BOUND_VERSION, definitionOf(jobNamed('a', { rateLimits: [ofRate(1), ofRate('${{ params.n }}')] }))],
  [LANGUAGE_VERSION, { ...definitionOf(jobNamed('a')), added: [{ by: 0, jobs: [jobNamed('b')] }] }],
  [
    BOUND_VERSION,
    { ...definitionOf(jobNamed('a')), added: [{ by: 0, jobs: [jobNamed('b', inGroup('${{ params.n }}'))] }] },
  ],
])('a replica has to know version %i to run %j', (version, definition) => {
  expect(versionNeeded(definition)).toBe(version);
});
