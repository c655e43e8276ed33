import { expect, it } from 'vitest';
import type { JobDefinition } from './definition.ts';
import { sureCalls } from './sure-calls.ts';
import { jobNamed } from './testing/definitions.ts';

const call = { driver: '', call: { pipeline: 'other', params: {} } };
const gate = { message: '', approvers: [], quorum: 1, onTimeout: 'SKIP' } as const;
const again = (change: Partial<JobDefinition> = {}) => jobNamed('again', { ...call, ...change });
const matrix = { axes: { n: [] } };

it.each<[string, readonly JobDefinition[], boolean]>([
  ['by itself', [again()], true],
  ['behind a job that may fail', [jobNamed('build'), again({ needs: ['build'] })], true],
  ['with a condition', [again({ if: 'params.n > 0' })], false],
  ['as a matrix, which may be empty', [again({ matrix })], false],
  [
    'behind a condition',
    [jobNamed('a', { if: 'params.yes' }), jobNamed('b', { needs: ['a'] }), again({ needs: ['b'] })],
    false,
  ],
  ['behind a gate', [jobNamed('ask', { driver: '', gate }), again({ needs: ['ask'] })], false],
  ['behind a matrix', [jobNamed('m', { matrix }), again({ needs: ['m'] })], false],
  ['on failure', [jobNamed('a'), again({ needs: ['a'], when: 'FAILURE' })], false],
  ['always, behind a condition', [jobNamed('a', { if: 'params.yes' }), again({ needs: ['a'], when: 'ALWAYS' })], true],
  ['at last', [jobNamed('a', { if: 'params.yes' }), again({ when: 'FINALLY' })], true],
  ['with a need that is not there', [again({ needs: ['nobody'] })], true],
])('a call %s', (_, jobs, isSure) => {
  expect(sureCalls({ jobs }).map(({ job }) => jobs[job]?.name)).toEqual(isSure ? ['again'] : []);
});
