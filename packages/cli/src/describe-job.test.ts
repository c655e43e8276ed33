import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { GateExpiry, JobState, RunCondition, RunState, WaitReason } from '@conveyor/client';
import type { EventSchema } from '@conveyor/protocol/conveyor/v1/event_pb.js';
import { describe, expect, it } from 'vitest';
import { run } from './testing/run-command.ts';
import { runId, type Script, startScriptedPlane } from './testing/scripted-plane.ts';

/** The line of that name that is told of a job. */
async function told(name: string, job: string, script: Script): Promise<string | undefined> {
  await using plane = await startScriptedPlane(script);
  const { exitCode, stdout } = await run(['describe', 'job', `${runId}/${job}`], plane.env);
  expect(exitCode).toBe(0);
  return new RegExp(`^${name}: +(.*)$`, 'm').exec(stdout)?.[1];
}

describe('what a job needs', () => {
  it('is of a matrix only its job', async () => {
    const cell = { shown: { matrixJob: 'test' } };
    const test = { state: JobState.WAITING, shown: { wait: { reason: WaitReason.MATRIX } } };
    const last = { state: JobState.BLOCKED, shown: { needs: ['test'], attempt: 0 } };
    const jobs = { test, last, 'test[1]': cell, 'test[2]': cell };
    expect(await told('Needs', 'last', { jobs })).toBe('test waiting');
  });
});

type Jobs = NonNullable<Script['jobs']>;
type Definition = NonNullable<NonNullable<Jobs[string]['shown']>['definition']>;

const at = (seconds: number) => timestampFromMs(1_000_000 + seconds * 1_000);
const { SKIPPED, CANCELLED, FAILED } = JobState;

/** A job in that state at second 5, which needs all others that are no cells. */
function ended(state: JobState, definition: Omit<Definition, '$typeName'>, others: Jobs = {}): Jobs {
  const needs = Object.keys(others).filter((name) => !name.includes('['));
  return { job: { state, shown: { needs, definition, attempt: 0, finishTime: at(5) } }, ...others };
}

function failedAt(seconds: number, matrixJob = '', failureAllowed = false): Jobs[string] {
  return { state: FAILED, shown: { finishTime: at(seconds), failureAllowed, ...(matrixJob !== '' && { matrixJob }) } };
}

describe('why a job was skipped', () => {
  const gate = { message: '', onTimeout: GateExpiry.SKIP };
  const matrix = { axes: { n: [1, 2] } };
  const onFailure = { when: RunCondition.FAILURE };
  it.each<[Jobs, string | undefined]>([
    [
      ended(SKIPPED, {}, { m: failedAt(1), n: {}, o: failedAt(1, '', true) }),
      'm failed, and it runs when all that it needs succeed',
    ],
    [
      ended(SKIPPED, { matrix }, { a: { state: SKIPPED }, b: { state: CANCELLED }, c: failedAt(1), d: failedAt(1) }),
      'a was skipped, b was cancelled, c failed and 1 more did not succeed, and it runs when all that it needs succeed',
    ],
    [ended(SKIPPED, onFailure, { m: {}, n: { state: SKIPPED } }), 'nothing that it needs failed'],
    [ended(SKIPPED, onFailure, { m: failedAt(1, '', true) }), 'nothing that it needs failed'],
    [ended(SKIPPED, { matrix }, { m: {} }), 'its matrix has no cells'],
    [
      ended(SKIPPED, { matrix }, { 'job[1]': { state: SKIPPED, shown: { matrixJob: 'job' } } }),
      'all of its cells were skipped',
    ],
    [ended(SKIPPED, { gate }), 'too few people answered it in time'],
    [ended(SKIPPED, {}, { m: {} }), undefined],
  ])('%#', async (jobs, why) => {
    expect(await told('Why', 'job', { jobs })).toBe(why);
  });
});

describe('why a job was cancelled', () => {
  const state = RunState.CANCELLED;
  const failFast = { failFast: true };
  const cell = (matrixFailsFast: boolean): Jobs => ({
    job: {
      state: CANCELLED,
      shown: { matrixJob: 'test', definition: { matrix: { failFast: matrixFailsFast } }, finishTime: at(5) },
    },
    'test[2]': failedAt(0, 'test'),
  });
  const always = { when: RunCondition.ALWAYS };
  it.each<[Script, string | undefined]>([
    [{ jobs: ended(CANCELLED, {}), state, stops: { cancelReason: 'a typo' } }, 'its run was cancelled: a typo'],
    [{ jobs: ended(CANCELLED, {}), state: RunState.CANCELLING }, 'its run was cancelled'],
    [
      { jobs: ended(CANCELLED, {}, { n: failedAt(4), m: failedAt(3) }), stops: failFast },
      'm failed, and its run stops at its first failure',
    ],
    [{ jobs: ended(CANCELLED, {}, { m: failedAt(6) }), stops: failFast, state }, 'its run was cancelled'],
    [{ jobs: ended(CANCELLED, {}, { m: failedAt(3, '', true) }), stops: failFast }, 'it was cancelled by itself'],
    [{ jobs: ended(CANCELLED, always, { m: failedAt(3) }), stops: failFast }, 'it was cancelled by itself'],
    [{ jobs: cell(true) }, 'test[2] failed, and its matrix stops at its first failure'],
    [{ jobs: cell(false) }, 'it was cancelled by itself'],
    [{ jobs: ended(CANCELLED, {}, { m: failedAt(3) }) }, 'it was cancelled by itself'],
    [
      { jobs: { job: { state: CANCELLED, shown: { definition: {}, concurrencyGroup: 'prod' } } } },
      'it was cancelled by itself',
    ],
    [
      {
        jobs: {
          job: { state: CANCELLED, shown: { definition: {}, concurrencyGroup: 'prod', cancelReason: 'a typo' } },
        },
      },
      'it was cancelled: a typo',
    ],
    [
      { jobs: { job: { state: CANCELLED, shown: { definition: {}, cancelReason: 'a typo' } } }, state },
      'it was cancelled: a typo',
    ],
    [
      {
        jobs: { job: { state: CANCELLED, shown: { definition: {}, cancelReason: 'a typo' } } },
        state,
        stops: { cancelReason: 'a typo' },
      },
      'its run was cancelled: a typo',
    ],
    [
      {
        jobs: { job: { state: CANCELLED, shown: { definition: {}, cancelReason: 'first' } } },
        state,
        stops: { cancelReason: 'second' },
      },
      'it was cancelled: first',
    ],
    // Its cells tell.
    [{ jobs: ended(CANCELLED, { matrix: {} }) }, undefined],
    [{ jobs: ended(CANCELLED, { call: { pipeline: 'other' } }) }, undefined],
  ])('%#', async (script, why) => {
    expect(await told('Why', 'job', script)).toBe(why);
  });

  it('is not asked of one that ran', async () => {
    expect(await told('Why', 'm', { jobs: { m: failedAt(1) }, stops: failFast, state })).toBeUndefined();
  });
});

describe('what a job was given', () => {
  it.each([
    ['Spec', 'shell'],
    ['Params', ''],
  ])('is its %s with the values of its expressions', async (what, driver) => {
    const shown = { driver, spec: { command: 'make linux' } };
    await using plane = await startScriptedPlane({ jobs: { build: { shown }, other: {} } });
    const { stdout } = await run(['describe', 'job', `${runId}/build`], plane.env);
    expect(stdout).toContain(`${what} with values:\n  command: make linux\n`);
    expect((await run(['describe', 'job', `${runId}/other`], plane.env)).stdout).not.toContain('with values');
  });
});

describe('how a gate is answered', () => {
  it('tells what the form of a gate has to have', async () => {
    const definition = { name: 'ask', gate: { formSchema: { type: 'object', required: ['ticket', 'a note'] } } };
    const wait = { reason: WaitReason.APPROVAL };
    const event: MessageInitShape<typeof EventSchema> = {
      job: 'ask',
      jobState: JobState.WAITING,
      kind: { case: 'jobWaiting', value: { wait } },
    };
    const jobs = { ask: { state: JobState.WAITING, shown: { definition, wait } } };
    await using plane = await startScriptedPlane({ jobs, events: [event] });
    const hint = `next: conveyor gate approve ${runId}/ask --actor NAME --answer ticket=VALUE --answer 'a note'=VALUE, or`;
    expect((await run(['run', 'ci', '--follow'], plane.env)).stderr).toContain(hint);
    expect((await run(['describe', 'job', `${runId}/ask`], plane.env)).stderr).toContain(hint);
  });
});
