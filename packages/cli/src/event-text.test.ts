import { type MessageInitShape, create } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { FailureClass, GateVerdict, JobState, WaitReason } from '@conveyor/client';
import { EventSchema, type JobFinishedSchema } from '@conveyor/protocol/conveyor/v1/event_pb.js';
import type { FailureSchema } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { describe, expect, it } from 'vitest';
import { eventText, isMain } from './event-text.ts';

type Kind = NonNullable<MessageInitShape<typeof EventSchema>['kind']>;

const eventOf = (kind: Kind) => create(EventSchema, { attempt: 2, kind });
const asker = { reason: 'the registry\nis down', actor: 'ada' };
const time = timestampFromMs(Date.UTC(2026, 0, 2, 3, 4, 5));

describe('an event about what is held back, silent or made', () => {
  it.each<[string, boolean, Kind]>([
    ['paused by ada: the registry is down', true, { case: 'runPaused', value: asker }],
    ['resumed', true, { case: 'runResumed', value: {} }],
    ['held by ada', true, { case: 'jobHeld', value: { actor: 'ada' } }],
    ['released: done', true, { case: 'jobReleased', value: { reason: 'done' } }],
    ['waiting: paused', false, { case: 'jobWaiting', value: { wait: { reason: WaitReason.PAUSED } } }],
    ['waiting: held', false, { case: 'jobWaiting', value: { wait: { reason: WaitReason.HELD } } }],
    [
      'waiting: backoff until 03:04:05',
      true,
      { case: 'jobWaiting', value: { wait: { reason: WaitReason.BACKOFF, untilTime: time } } },
    ],
    ['attempt 2 was heard of at 03:04:05', false, { case: 'attemptHeard', value: { heardTime: time } }],
    [
      'made dist/app.tgz crc32c:00ff00ff',
      true,
      { case: 'attemptArtifact', value: { artifact: { name: 'dist/app.tgz', digest: 'crc32c:00ff00ff' }, number: 1 } },
    ],
    ['attempt 2 timed out, stopping it', true, { case: 'attemptTimedOut', value: {} }],
    [
      'attempt 2 was not heard of for 1m30s, stopping it',
      true,
      { case: 'attemptTimedOut', value: { silence: durationFromMs(90_000) } },
    ],
  ])('%s', (text, main, kind) => {
    expect(eventText(eventOf(kind))).toBe(text);
    expect(isMain(eventOf(kind))).toBe(main);
  });
});

it('says why a job ended as it did', () => {
  const told = (jobState: JobState, value: MessageInitShape<typeof JobFinishedSchema>) =>
    eventText(create(EventSchema, { jobState, kind: { case: 'jobFinished', value } }));
  expect(told(JobState.CANCELLED, { cancelReason: 'a\ntypo' })).toBe('cancelled: a typo');
  expect(told(JobState.CANCELLED, {})).toBe('cancelled');
  expect(told(JobState.FAILED, { failure: { message: 'it broke', exitCode: 2 } })).toBe(
    'failed: it broke (exit code 2)',
  );
});

it('names the class of a failure, and its exit code once', () => {
  const told = (failure: MessageInitShape<typeof FailureSchema>) =>
    eventText(create(EventSchema, { jobState: JobState.FAILED, kind: { case: 'jobFinished', value: { failure } } }));
  expect(told({ class: FailureClass.WORKLOAD, message: 'exit code 7', exitCode: 7 })).toBe(
    'failed: WORKLOAD: exit code 7',
  );
  expect(told({ class: FailureClass.DRIVER, message: 'exit code 77', exitCode: 7 })).toBe(
    'failed: DRIVER: exit code 77 (exit code 7)',
  );
  expect(told({ class: 99 as FailureClass, message: 'odd' })).toBe('failed: 99: odd');
});

describe('an event about what a run works out, asks or calls', () => {
  const jobs = (count: number) =>
    Array.from({ length: count }, (_, index) => ({ name: `test[${index}]`, matrix: { index } }));
  const condition = { expression: 'params.ship', held: false };
  it.each<[string, boolean, Kind]>([
    [
      'its condition holds: params.ship',
      false,
      { case: 'jobEvaluated', value: { condition: { ...condition, held: true } } },
    ],
    ['its condition does not hold: params.ship', true, { case: 'jobEvaluated', value: { condition } }],
    [
      `its condition does not hold: ${'x'.repeat(99)}…`,
      true,
      { case: 'jobEvaluated', value: { condition: { expression: 'x'.repeat(200) } } },
    ],
    [
      'its condition cannot be worked out: no such key',
      true,
      { case: 'jobEvaluated', value: { condition: { ...condition, error: 'no such\nkey' } } },
    ],
    [
      '1 of its expressions failed: spec.a',
      false,
      { case: 'jobEvaluated', value: { expressionFailures: [{ field: 'spec.a' }], expressionFailureCount: 1 } },
    ],
    [
      '7 of its expressions failed: spec.a, spec.b, 5 more',
      true,
      {
        case: 'jobEvaluated',
        value: {
          condition: { ...condition, held: true },
          expressionFailures: [{ field: 'spec.a' }, { field: 'spec.b' }],
          expressionFailureCount: 7,
        },
      },
    ],
    [
      'its condition cannot be worked out: env.a: no such key',
      true,
      {
        case: 'jobEvaluated',
        value: { condition: { ...condition, error: 'env.a: no such key' }, expressionFailureCount: 1 },
      },
    ],
    ['its expressions were worked out', false, { case: 'jobEvaluated', value: { spec: {} } }],
    ['runs as 1 cell: test[0]', true, { case: 'jobsAdded', value: { jobs: jobs(1) } }],
    [
      'runs as 7 cells: test[0] test[1] test[2] test[3] test[4] 2 more',
      true,
      { case: 'jobsAdded', value: { jobs: jobs(7) } },
    ],
    ['appended 2 jobs: pack push', true, { case: 'jobsAdded', value: { jobs: [{ name: 'pack' }, { name: 'push' }] } }],
    [
      'waiting: approval until 2026-01-02 03:04:05Z',
      true,
      { case: 'jobWaiting', value: { wait: { reason: WaitReason.APPROVAL, untilTime: time } } },
    ],
    ['waiting: its run', false, { case: 'jobWaiting', value: { wait: { reason: WaitReason.CHILD_RUN } } }],
    [
      'approved by ada: looks good',
      true,
      {
        case: 'gateAnswered',
        value: { answer: { actor: 'ada', verdict: GateVerdict.APPROVE, comment: 'looks\ngood' } },
      },
    ],
    [
      'rejected by ada',
      true,
      { case: 'gateAnswered', value: { answer: { actor: 'ada', verdict: GateVerdict.REJECT } } },
    ],
    ['runs as run 0190', true, { case: 'childRunStarted', value: { runId: '0190' } }],
  ])('%s', (text, main, kind) => {
    expect(eventText(eventOf(kind))).toBe(text);
    expect(isMain(eventOf(kind))).toBe(main);
  });
});
