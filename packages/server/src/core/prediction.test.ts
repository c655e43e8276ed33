// A plan equals the execution of what it planned, whatever is assumed and in whatever order drivers finish; where it cannot know, it says
// so. Wrong plans are shown to be caught.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Assumptions } from './assumptions.ts';
import type { Command } from './commands.ts';
import { criticalPath } from './critical-path.ts';
import { decide } from './decide.ts';
import type { Definition } from './definition.ts';
import { sharesView } from './job-view.ts';
import type { JsonObject } from './json.ts';
import { plannedJob } from './plan.ts';
import { type FactsOfRun, playRun } from './play-run.ts';
import { predictionOf, type RunPrediction } from './prediction.ts';
import {
  type ConditionPart,
  type ConditionTrace,
  type ExpressionFailures,
  type JobRecord,
  jobOf,
} from './run-state.ts';
import { endsOf, execute, randomEnds } from './testing/assumed-execution.ts';
import { definitionOf, definitions, jobNamed, richDefinitions } from './testing/definitions.ts';
import { randomFrom } from './testing/random-from.ts';
import { type Decide, PARAMS, type SimulatedLedger } from './testing/simulated-ledger.ts';
import { withJobs } from './testing/wrong-decisions.ts';

const trigger = { kind: 'api', actor: '', reference: '' };
const FACTS: FactsOfRun = { runId: 'run', project: 'default', params: PARAMS, labels: { branch: 'main' }, trigger };

function predict(definition: Definition, assumed: Assumptions = new Map(), decideWith: Decide = decide): RunPrediction {
  const playing = playRun(definition, FACTS, assumed, undefined, function* (slice, command, nowMs) {
    yield;
    return decideWith(slice, command, nowMs);
  });
  for (;;) {
    const { done, value } = playing.next();
    if (done === true) return predictionOf(value, assumed);
  }
}

/** What a plan and an execution have in common to be compared. */
interface Seen {
  readonly state: string;
  readonly condition: ConditionTrace | undefined;
  readonly expressionFailures: ExpressionFailures | undefined;
  readonly spec: unknown;
  readonly group: unknown;
  readonly rates: unknown;
  readonly ran: boolean;
}

function executedJobs({ slice }: SimulatedLedger): ReadonlyMap<string, Seen> {
  return new Map(
    slice.plan.jobs.map((job) => {
      const record: JobRecord = jobOf(slice, job.index);
      const { condition, expressionFailures, spec } = record.details ?? {};
      const shares = { group: undefined, rates: undefined, ...sharesView(job.definition, record.details ?? {}) };
      const told = { condition, expressionFailures, spec, ...shares };
      return [job.name, { state: record.state, ...told, ran: record.startedMs !== undefined }];
    }),
  );
}

interface Traced {
  readonly parts: readonly ConditionPart[];
}

/** Parts that the plan does not know are not needed for the value of the whole, and nothing else is told of what they are read of. */
function knownParts<T extends Traced>(traced: T | undefined, like: Traced | undefined): T | undefined {
  const known = like?.parts.filter(({ note }) => note?.endsWith('are not known') !== true) ?? [];
  if (traced === undefined || known.length === like?.parts.length) return traced;
  const isKnown = ({ expression }: ConditionPart): boolean => known.some((part) => part.expression === expression);
  return { ...traced, parts: traced.parts.filter(isKnown) };
}

function knownFailures(failures: ExpressionFailures | undefined, like: ExpressionFailures | undefined): unknown {
  return failures && { ...failures, first: failures.first.map((failure, n) => knownParts(failure, like?.first[n])) };
}

function expectEqual(prediction: RunPrediction, ledger: SimulatedLedger): void {
  const executed = executedJobs(ledger);
  const names: string[] = [];
  for (const { job, fate, state, condition, expressionFailures, spec, group, rates } of prediction.jobs) {
    names.push(job.name);
    if (fate === 'UNKNOWN') continue;
    const seen = executed.get(job.name);
    const knownOf = (told: Pick<Seen, 'condition' | 'expressionFailures'> | undefined) => ({
      condition: knownParts(told?.condition, condition),
      expressionFailures: knownFailures(told?.expressionFailures, expressionFailures),
    });
    const theirs = { ...seen, ...knownOf(seen) };
    const isDriven = job.definition.gate === undefined && job.definition.call === undefined && job.cells === undefined;
    const ran = isDriven && job.definition.matrix === undefined ? fate === 'RUNS' : seen?.ran;
    const ours = { state, ...knownOf({ condition, expressionFailures }), spec, group, rates, ran };
    expect([job.name, theirs]).toEqual([job.name, ours]);
    const cells = job.cells?.map((cell) => plannedJob(prediction.plan, cell).name);
    const made = ledger.slice.plan.jobs[job.index]?.cells?.map((cell) => plannedJob(ledger.slice.plan, cell).name);
    expect([job.name, cells]).toEqual([job.name, made]);
  }
  if (prediction.state !== undefined) expect(ledger.slice.run.state).toBe(prediction.state);
  if (prediction.jobs.some(({ fate }) => fate === 'UNKNOWN')) return;
  expect(prediction.state).toBeDefined();
  expect(names.toSorted()).toEqual([...executed.keys()].toSorted());
}

/** Where a failure stops others, who comes first decides: a plan tells what comes of the order in which jobs become ready. */
function isOrdered({ failFast, jobs }: Definition): boolean {
  return failFast === true || jobs.some(({ matrix }) => matrix?.failFast === true);
}

const planned = fc.oneof(definitions, richDefinitions);

const equalsExecution = (decideWith?: Decide) =>
  fc.property(planned, randomEnds, fc.integer(), (definition, random, seed) => {
    const { assumed, ends } = endsOf(definition, random);
    const ledger = execute(definition, ends, isOrdered(definition) ? undefined : randomFrom(seed));
    expectEqual(predict(definition, assumed, decideWith), ledger);
  });

test('a plan equals the execution over random outcomes', () => {
  fc.assert(equalsExecution(), { numRuns: 1_500 });
});

test('a plan knows everything once all outputs are assumed', () => {
  fc.assert(
    fc.property(planned, randomEnds, (definition, random) => {
      const { assumed } = endsOf(
        definition,
        random.map((end) => ({ ...end, isAssumed: true, knowsOutputs: true })),
      );
      const prediction = predict(definition, assumed);
      expect(prediction.jobs.filter(({ fate }) => fate === 'UNKNOWN')).toEqual([]);
    }),
    { numRuns: 1_000 },
  );
});

function withFirstFailure([index, job]: readonly [number, JobRecord]): [number, JobRecord] {
  const failures = job.details?.expressionFailures;
  if (failures === undefined) return [index, job];
  const expressionFailures = { ...failures, first: failures.first.slice(0, 1) };
  return [index, { ...job, details: { ...job.details, expressionFailures } }];
}

describe('a wrong plan is caught', () => {
  const given =
    (change: (command: Command) => Command): Decide =>
    (slice, command, nowMs) =>
      decide(slice, change(command), nowMs);
  const faults: Readonly<Record<string, Decide>> = {
    'takes outputs that nobody knows for none': (slice, command, nowMs) => {
      const outputs = slice.facts?.outputs ?? new Map<number, JsonObject>();
      return decide({ ...slice, facts: { ...FACTS, outputs } }, command, nowMs);
    },
    'takes jobs that always run for others': (slice, command, nowMs) => {
      const misread = withJobs((job) => ({ ...job, when: job.when === 'ALWAYS' ? 'SUCCESS' : job.when }));
      return decide(misread(slice), command, nowMs);
    },
    'takes a failure for a success': given((command) =>
      command.type === 'Finish' && command.outcome === 'FAILED' ? { ...command, outcome: 'SUCCEEDED' } : command,
    ),
    'forgets the outputs': given((command) =>
      command.type === 'Finish' && command.content !== undefined
        ? { ...command, content: { ...command.content, outputs: {} } }
        : command,
    ),
    'tells only the first of several expressions that fail': (slice, command, nowMs) => {
      const decision = decide(slice, command, nowMs);
      const { jobs } = decision.after;
      return { ...decision, after: { ...decision.after, jobs: new Map([...jobs].map(withFirstFailure)) } };
    },
    'takes any answer for an approval': given((command) =>
      command.type === 'AnswerGate' ? { ...command, verdict: 'APPROVE' } : command,
    ),
  };

  test.each(Object.entries(faults))('%s', (_, decideWrongly) => {
    const { failed, errorInstance } = fc.check(equalsExecution(decideWrongly), { numRuns: 3_000, endOnFailure: true });
    expect(failed).toBe(true);
    expect(String(errorInstance)).toMatch(/AssertionError|left/);
  });
});

describe('what is not known', () => {
  const definition = definitionOf(
    jobNamed('build', { outputsSchema: { type: 'object', required: ['image'] } }),
    jobNamed('spec', { needs: ['build'], spec: { image: '${{ needs.build.outputs.image }}' } }),
    jobNamed('cond', { needs: ['build'], if: 'needs.build.outputs.ok == true' }),
    jobNamed('cells', { needs: ['build'], matrix: { axes: { n: '${{ needs.build.outputs.list }}' } } }),
    jobNamed('call', { needs: ['build'], call: { pipeline: 'x', params: { a: '${{ needs.build.outputs.image }}' } } }),
    jobNamed('short', { needs: ['build'], if: 'params.no && needs.build.outputs.ok == true' }),
    jobNamed('after', { needs: ['cond'] }),
    jobNamed('always', { needs: ['cond'], when: 'ALWAYS' }),
    jobNamed('behind', { needs: ['always'] }),
    jobNamed('outcome', { needs: ['build'], if: 'needs.build.outcome == "succeeded"' }),
  );
  const told = (prediction: RunPrediction): unknown =>
    Object.fromEntries(prediction.jobs.map(({ job, fate, reason }) => [job.name, reason ?? fate]));

  test('says so, with why, and never more than it knows', () => {
    const prediction = predict(definition);
    expect(told(prediction)).toEqual({
      build: 'RUNS',
      spec: 'its spec reads outputs of build, which are not assumed',
      cond: 'its condition reads outputs of build, which are not assumed',
      cells: 'its matrix reads outputs of build, which are not assumed',
      call: 'its params read outputs of build, which are not assumed',
      short: 'SKIPPED',
      after: 'it depends on cond, which is not known',
      always: 'RUNS',
      behind: 'it depends on cond, which is not known',
      outcome: 'RUNS',
    });
    expect(prediction.state).toBeUndefined();
  });

  test('is known once it is assumed', () => {
    const outputs = { image: 'a:1', ok: false, list: ['x', 'y'] };
    const prediction = predict(definition, new Map([['build', { outcome: 'SUCCEEDED', outputs }]]));
    expect(told(prediction)).toEqual({
      build: 'RUNS',
      spec: 'RUNS',
      call: 'RUNS',
      cond: 'SKIPPED',
      cells: 'RUNS',
      'cells[x]': 'RUNS',
      'cells[y]': 'RUNS',
      short: 'SKIPPED',
      after: 'SKIPPED',
      always: 'RUNS',
      behind: 'RUNS',
      outcome: 'RUNS',
    });
    expect(prediction.state).toBe('SUCCEEDED');
    expect(prediction.jobs.find(({ job }) => job.name === 'spec')?.spec).toEqual({ image: 'a:1' });
  });

  test('may stop others where a failure stops them', () => {
    const fast = {
      ...definitionOf(...definition.jobs.slice(0, 2), jobNamed('slow', { needs: ['build'] })),
      failFast: true,
    } as const;
    expect(told(predict(fast))).toMatchObject({
      build: 'RUNS',
      slow: 'it is stopped if spec fails, which is not known',
    });
  });
});

test('the critical path leads through the slowest cell, and past what is skipped', () => {
  const definition = definitionOf(
    jobNamed('lint'),
    jobNamed('build'),
    jobNamed('test', { needs: ['build'], matrix: { axes: { os: ['linux', 'mac'] } } }),
    jobNamed('never', { needs: ['test'], if: 'params.no' }),
    jobNamed('deploy', { needs: ['test', 'lint'] }),
    jobNamed('tell', { needs: ['deploy'], when: 'ALWAYS' }),
  );
  const times = { lint: 50, build: 10, 'test[linux]': 30, 'test[mac]': 70, never: 1_000, deploy: 5 };
  const prediction = predict(definition);
  expect(prediction.jobs.map(({ job, wave }) => `${wave} ${job.name}`)).toEqual([
    '0 lint',
    '0 build',
    '1 test',
    '1 test[linux]',
    '1 test[mac]',
    '2 never',
    '2 deploy',
    '3 tell',
  ]);
  expect(criticalPath(prediction, new Map(Object.entries(times)))).toEqual({
    steps: [
      { name: 'build', durationMs: 10 },
      { name: 'test[mac]', durationMs: 70 },
      { name: 'deploy', durationMs: 5 },
      { name: 'tell' },
    ],
    totalMs: 85,
  });
});

test('10,000 jobs are planned in less than two seconds, in small steps', () => {
  // As many conditions as a definition may have.
  const jobs = Array.from({ length: 10_000 }, (_, n) => {
    const need = `job-${n - 1}`;
    const condition = n % 4 === 0 ? {} : { if: `needs["${need}"].outcome != "x"` };
    return jobNamed(`job-${n}`, n % 100 === 0 ? {} : { needs: [need], ...(n % 3 === 0 && condition) });
  });
  const playing = playRun(definitionOf(...jobs), FACTS, new Map([['job-5050', { outcome: 'FAILED' }]]));
  // What other processes take does not count.
  const begin = process.cpuUsage();
  let steps = 0;
  while (playing.next().done !== true) steps++;
  const { user, system } = process.cpuUsage(begin);
  expect((user + system) / 1_000).toBeLessThan(2_000);
  expect(steps).toBeGreaterThan(10_000);
});
