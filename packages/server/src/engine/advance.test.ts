import { expect, test } from 'vitest';
import type { AttemptContent, Command } from '../core/commands.ts';
import { decide } from '../core/decide.ts';
import { beforeFirstEvent } from '../core/evolve.ts';
import { makeRunId } from '../core/ids.ts';
import { EVENT_VERSION } from '../core/event-versions.ts';
import { compilePlan } from '../core/plan.ts';
import { jobOf, type RunFacts, type RunSlice } from '../core/run-state.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { advance } from './advance.ts';
import { addFacts, addLoaded, beginWork, contentKey, type RunWork } from './run-work.ts';
import { finishWell } from './testing/ledger-fixture.ts';

const trigger = { kind: 'api', actor: '', reference: '' };
const RUNNING: AttemptContent = {
  state: 'RUNNING',
  logSize: 0,
  logCrc32c: 0,
  logState: 'OPEN',
  annotations: 0,
  artifacts: 0,
};

/** Of a work whose jobs are all loaded: how often it is given the outputs that it asks for before all is decided. */
function roundsOf(work: RunWork, give: (outputsOf: readonly number[]) => void): number {
  for (let round = 0; ; round++) {
    const slices = advance(work, 2_000, () => false);
    let made = slices.next();
    while (made.done !== true) made = slices.next();
    if (made.value === undefined) return round;
    expect(made.value.jobs).toEqual([]);
    give(made.value.outputsOf ?? []);
  }
}

/** The first job finishes, and down the links each spec, of what a job that finished long ago has put out, is refused by the driver. */
function playChain(links: number) {
  const at = Array.from({ length: links }, (_, n) => n);
  const given = at.map((n) => jobNamed(`given${n}`));
  const chain = at.map((n) =>
    jobNamed(`link${n}`, {
      needs: [n === 0 ? 'first' : `link${n - 1}`, `given${n}`],
      when: 'ALWAYS',
      spec: { read: `\${{ needs.given${n}.outcome }}` },
    }),
  );
  const plan = compilePlan(definitionOf(jobNamed('first'), ...given, ...chain));
  let slice: RunSlice = beforeFirstEvent(plan);
  const submit = (command: Command): void => {
    const { run, jobs } = decide(slice, command, 1_000).after;
    slice = { plan, run, jobs };
  };
  submit({ type: 'Create', trigger });
  for (const job of [...at, links]) {
    submit({ type: 'Offer', job, instance: 1, instanceId: 'i-1' });
    submit({ type: 'Accept', job, attempt: 1, instance: 1 });
    if (job > 0) submit({ ...finishWell(job, 1), content: RUNNING });
  }
  const { run, jobs } = slice;
  const runId = makeRunId(0, new Uint8Array(16));
  const command = finishWell(0, 1);
  const submission = {
    runId,
    number: 1,
    project: undefined,
    command,
    writer: undefined,
    misses: 0,
    isCostly: false,
    answer() {},
    fail() {},
  };
  const context = {
    runId,
    project: 'default',
    pipeline: undefined,
    params: {},
    traceparent: '',
    caller: undefined,
    plan,
  };
  const work = beginWork(context, run, [submission], EVENT_VERSION);
  addLoaded(work, jobs);
  work.contents.set(contentKey(0, 1), RUNNING);
  let checked = 0;
  const whyUnfit = () => {
    checked++;
    return [{ field: 'spec', description: 'is refused' }];
  };
  const facts: RunFacts = {
    runId,
    project: 'default',
    params: {},
    labels: {},
    trigger,
    whyUnfit,
    outputs: new Map(),
  };
  const asked: number[] = [];
  const rounds = roundsOf(work, (outputsOf) => {
    asked.push(...outputsOf);
    addFacts(
      work,
      work.facts ?? facts,
      outputsOf.map((job) => [job, {}]),
    );
  });
  return { work, rounds, asked, checked, last: jobOf({ plan, run, jobs: work.jobs }, 2 * links) };
}

test('a chain of conditions takes few rounds, reads nothing twice, and works no job out twice', () => {
  const { work, rounds, asked, checked, last } = playChain(600);
  expect(last).toMatchObject({ state: 'FAILED', failure: { class: 'INVALID' } });
  expect(work.failures.size).toBe(0);
  expect(rounds).toBe(Math.ceil(600 / 256));
  expect(asked.length).toBe(600);
  expect(new Set(asked).size).toBe(600);
  expect(checked).toBe(600);
});
