// What takes long in a definition comes in slices: what is compiled, between any two expressions, however many a job or a text has.
import { expect, it } from 'vitest';
import { checkDefinition, type JobInput } from './check-definition.ts';
import { createCheckWork } from './check-work.ts';
import { checkGraph } from './check-graph.ts';
import type { Command } from './commands.ts';
import { decide, decideInSlices } from './decide.ts';
import { beforeFirstEvent } from './evolve.ts';
import { compileAhead } from './expression-inputs.ts';
import { makeRunId } from './ids.ts';
import { compilePlan, type Plan } from './plan.ts';
import { jobChanges } from './run-history.ts';
import type { RunSlice } from './run-state.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';
import { create, newest, start } from './testing/driver.ts';
import { openLedger } from './testing/simulated-ledger.ts';

const EXPRESSIONS = 100;
const RUN = makeRunId(0, new Uint8Array(10));
const text = Array.from({ length: EXPRESSIONS }, (_, n) => `\${{ params.a${n} == ${n} || params.b }}`).join();
const EMPTY = { labels: {}, stages: [], env: {}, failFast: false };
const CREATE: Command = { type: 'Create', trigger: { kind: 'api', actor: '', reference: '' } };

function planOf(jobs: number): Plan {
  const long = Array.from({ length: jobs }, (_, n) => jobNamed(`job-${n}`, { if: 'params.a', spec: { text } }));
  return compilePlan({ ...definitionOf(...long), env: { text } });
}

it.each([
  ['a template of a job', { jobs: [jobInput({ spec: { text } })], ...EMPTY }],
  ['the values of its env', { ...EMPTY, jobs: [jobInput({})], env: { text } }],
])('a check of %s comes in a slice for each expression', (_, input) => {
  expect(Array.from(checkDefinition([], '', input, createCheckWork())).length).toBeGreaterThan(EXPRESSIONS);
});

it('a check of many matrices comes in a slice for each', () => {
  const matrix = { axes: { a: [1, 2], b: [1, 2] }, maxParallel: 0, failFast: false };
  const check = (count: number) => {
    const jobs = Array.from({ length: count }, (_, n) => jobInput({ name: `job-${n}`, matrix }));
    return Array.from(checkDefinition([], '', { jobs, ...EMPTY }, createCheckWork())).length;
  };
  // One to look at the job, one to compile it, one for its cells.
  expect(check(90) - check(10)).toBe(3 * 80);
});

it('a decision on a plan that is not compiled has compiled it before it begins, in slices', () => {
  const plan = planOf(3);
  const decide = () => Array.from(decideInSlices(beforeFirstEvent(plan), CREATE, 0, Infinity)).length;
  expect(() => decide()).toThrow('facts');
  const slices = Array.from(compileAhead(planOf(3))).length;
  expect(slices).toBeGreaterThan(4 * EXPRESSIONS);
  expect(Array.from(compileAhead(plan))).toEqual([]);
  for (const { definition } of plan.jobs) expect(plan.compiled.get(definition)?.spec?.shape.kind).toBe('object');
  expect(plan.compiledEnv.env?.shape.kind).toBe('object');
});

it('jobs that are to be appended are compiled with it', () => {
  const plan = planOf(1);
  const appended = jobNamed('more', { spec: { text } });
  const slices = Array.from(compileAhead(plan, [appended])).length;
  expect(slices).toBeGreaterThan(3 * EXPRESSIONS);
  expect(plan.compiled.has(appended)).toBe(true);
});

it('each matrix of a run is made in a slice of its own', () => {
  const matrix = { axes: { a: [1, 2] } };
  const jobs = Array.from({ length: 10 }, (_, n) => jobNamed(`job-${n}`, { matrix }));
  const slices = Array.from(decideInSlices(beforeFirstEvent(compilePlan(definitionOf(...jobs))), CREATE, 0));
  expect(slices.length).toBeGreaterThanOrEqual(10 * 2);
});

it('a graph is looked at by some jobs at a time', () => {
  const jobs = Array.from({ length: 10_000 }, (_, n) =>
    jobNamed(`job-${n}`, { needs: n === 0 ? [] : [`job-${n - 1}`] }),
  );
  expect(Array.from(checkGraph([], 'jobs', jobs)).length).toBe(2 * 10);
});

it('the graph of an append is looked at by some jobs at a time, too', () => {
  const ledger = openLedger(definitionOf(jobNamed('job')));
  create(ledger);
  start(ledger, 0);
  const append = (count: number) => {
    const jobs = Array.from({ length: count }, (_, n) => jobNamed(`more-${n}`, { needs: ['job'] }));
    const command = { type: 'AppendJobs', ...newest(ledger, 0), jobs, violations: [], content: undefined } as const;
    const slices = () => Array.from(decideInSlices(ledger.slice, command, 0, Number.POSITIVE_INFINITY)).length;
    // They are compiled by the first decision.
    return [slices(), slices()][1]!;
  };
  expect(append(9_999) - append(1)).toBe(2 * 9);
});

it('what changed between two points of a run is looked for a job at a time', () => {
  const plan = compilePlan(definitionOf(...Array.from({ length: 50 }, (_, n) => jobNamed(`job-${n}`))));
  const created = decide(beforeFirstEvent(plan), CREATE, 0).after;
  const cancelled = decide(created, { type: 'CancelRun', reason: '', force: true }, 1).after;
  const pointOf = ({ run, jobs }: RunSlice) => ({ plan, run, jobs, told: new Map(), outputs: new Map() });
  expect(Array.from(jobChanges(RUN, pointOf(created), pointOf(cancelled))).length).toBe(50);
});

function jobInput(change: Partial<JobInput>): JobInput {
  return { name: 'job', driver: 'shell', needs: [], secrets: [], allowFailure: false, ...change };
}
