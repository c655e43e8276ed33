// Jobs that a driver appends, from the frame to what the engine is told, and the answer back.
import { create, fromBinary, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type AppendJobsSchema,
  DriverFrameSchema,
  ServerFrameSchema,
} from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { ErrorReason } from '@conveyor/protocol/conveyor/v1/error_pb.js';
import { RunCondition } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { describe, expect, it } from 'vitest';
import { checkAppendedJobs } from '../../core/check-definition.ts';
import type { Found } from '../../core/check-fields.ts';
import type { DriverFrame } from '../../core/frames.ts';
import { LIMITS } from '../../core/limits.ts';
import { checkAtOnce } from '../../core/testing/at-once.ts';
import { jobNamed } from '../../core/testing/definitions.ts';
import { ATTEMPT_ID } from '../testing/sample-jobs.ts';
import { RUN_ID } from '../testing/sample-runs.ts';
import { decodeFrame } from './decode-frames.ts';
import { encodeFrame } from './encode-frames.ts';

type Jobs = NonNullable<MessageInitShape<typeof AppendJobsSchema>['jobs']>;

const key = { runId: RUN_ID, job: 0, attempt: 1 };
const build = { name: 'build', driver: 'shell' };

function decoded(value: MessageInitShape<typeof AppendJobsSchema>): DriverFrame | undefined {
  const address = { attemptId: ATTEMPT_ID, fence: 1, number: 3 };
  return decodeFrame(create(DriverFrameSchema, { frame: { case: 'appendJobs', value: { ...address, ...value } } }));
}

/** What is wrong with jobs, as `field: description`. */
function wrongIn(jobs: Jobs): readonly string[] {
  const frame = decoded({ jobs });
  if (frame?.type !== 'AppendJobs') throw new Error(`it became ${frame?.type}`);
  const found: Found = [];
  checkAtOnce(checkAppendedJobs, found, 'jobs', frame.jobs, {});
  return found.map(({ field, description }) => `${field}: ${description}`);
}

describe('appended jobs', () => {
  it('have the defaults of jobs of a definition', () => {
    const gate = { name: 'ask', gate: {}, needs: ['build'], when: RunCondition.ALWAYS };
    const frame = decoded({ jobs: [build, gate] });
    if (frame?.type !== 'AppendJobs') throw new Error(`it became ${frame?.type}`);
    expect(frame).toMatchObject({ type: 'AppendJobs', key, number: 3 });
    const found: Found = [];
    expect(checkAtOnce(checkAppendedJobs, found, 'jobs', frame.jobs, {})).toEqual([
      jobNamed('build'),
      jobNamed('ask', {
        driver: '',
        needs: ['build'],
        when: 'ALWAYS',
        gate: { message: '', approvers: [], quorum: 1, onTimeout: 'FAIL' },
      }),
    ]);
    expect(found).toEqual([]);
  });

  const cases: [string, Jobs, string | RegExp][] = [
    ['none', [], 'jobs: is required: 1 to 10000 jobs'],
    ['a malformed name', [{ ...build, name: 'a b' }], /^jobs\[0\]\.name: must be/],
    ['no driver', [build, { name: 'other' }], /^jobs\[1\]\.driver: is required/],
    ['a stage', [{ ...build, stage: 'test' }], /^jobs\[0\]\.stage: must not be set/],
    ['NUL', [{ ...build, spec: { a: '\0' } }], /^jobs\[0\]\.spec/],
    ['a malformed condition', [{ ...build, if: 'params.a ==' }], /^jobs\[0\]\.if/],
    ['an expression of what it does not need', [{ ...build, if: 'needs.a.ok' }], /^jobs\[0\]\.if/],
    ['a malformed expression', [{ ...build, spec: { a: '${{ 1 + }}' } }], /^jobs\[0\]\.spec\.a/],
    ['a malformed schema', [{ ...build, outputsSchema: { type: 'array' } }], /^jobs\[0\]\.outputs_schema\.type/],
    ['a gate with a driver', [{ ...build, gate: {} }], /^jobs\[0\]\.driver: must not be set/],
    [
      'too many bytes',
      Array.from({ length: 3_000 }, (_, n) => ({ ...build, name: `job-${n}` })),
      /^jobs: must have at most 1048576 bytes as JSON with every default; has/,
    ],
    [
      'too many',
      Array.from({ length: LIMITS.jobsPerRun + 1 }, () => build),
      /^jobs: must have at most 10000 entries; has 10001/,
    ],
  ];
  it.each(cases)('with %s are told by the path of the field', (_, jobs, expected) => {
    expect(wrongIn(jobs)).toEqual([expect.stringMatching(expected)]);
  });

  it('are told all that is wrong with them at once', () => {
    const wrong = wrongIn([{ ...build, if: '(' }, { name: '' }]);
    expect(wrong.map((text) => text.split(':')[0])).toEqual(['jobs[1].name', 'jobs[1].driver', 'jobs[0].if']);
  });

  it('that are too large are not looked at by anybody else', () => {
    const jobs = Array.from({ length: 3_000 }, (_, n) => ({ ...build, name: `job-${n}` }));
    const frame = decoded({ jobs });
    const found: Found = [];
    expect(frame?.type === 'AppendJobs' && checkAtOnce(checkAppendedJobs, found, 'jobs', frame.jobs, {})).toEqual([]);
    expect(found).toMatchObject([{ field: 'jobs' }]);
  });

  it('of no number, or of another fence, are no jobs', () => {
    expect(decoded({ number: 0, jobs: [build] })).toEqual({
      type: 'Malformed',
      key,
      problem: 'AppendJobs: number must be 1 or more; got 0',
    });
    expect(decoded({ fence: 2, jobs: [build] })).toEqual({ type: 'Misaddressed', attemptId: ATTEMPT_ID, fence: 2 });
  });
});

describe('the answer', () => {
  const said = (frame: Parameters<typeof encodeFrame>[0]) => fromBinary(ServerFrameSchema, encodeFrame(frame)).frame;
  const address = { attemptId: ATTEMPT_ID, fence: 1, number: 3 };

  it('says that it is done', () => {
    expect(said({ type: 'AppendAnswer', key, number: 3 })).toMatchObject({
      case: 'appendAnswer',
      value: { ...address, error: ErrorReason.UNSPECIFIED, message: '', violations: [] },
    });
  });

  it('says all that is wrong', () => {
    const violations = [{ field: 'jobs[0].name', description: 'is required' }];
    const refusal = { refused: 'INVALID_FIELD', message: 'no', violations } as const;
    expect(said({ type: 'AppendAnswer', key, number: 3, refusal })).toMatchObject({
      case: 'appendAnswer',
      value: { ...address, error: ErrorReason.INVALID_FIELD, message: 'no', violations },
    });
  });
});
