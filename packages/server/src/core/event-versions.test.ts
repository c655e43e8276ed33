import { expect, test } from 'vitest';
import type { RunEvent } from './events.ts';
import { jobNamed } from './testing/definitions.ts';
import { EVENT_VERSION, upcast, versionOf } from './event-versions.ts';

const group = { key: 'g', limit: '${{ params.n }}', policy: 'QUEUE' } as const;
const asker = { reason: '', actor: '' };
const trigger = { kind: 'api', actor: '', reference: '' };

test.each<[number, RunEvent]>([
  [1, { type: 'JobQueued', job: 0 }],
  [1, { type: 'JobWaiting', job: 0, reason: 'BACKOFF', untilMs: 1 }],
  [3, { type: 'JobWaiting', job: 0, reason: 'DELAY', untilMs: 1 }],
  [3, { type: 'JobWaiting', job: 0, reason: 'HELD', behind: { reason: 'DELAY', untilMs: 1 } }],
  [2, { type: 'JobWaiting', job: 0, reason: 'HELD', behind: { reason: 'BACKOFF', untilMs: 1 } }],
  [1, { type: 'JobFinished', job: 0, state: 'CANCELLED' }],
  [5, { type: 'JobFinished', job: 0, state: 'CANCELLED', cancelReason: 'enough' }],
  [1, { type: 'RunCreated', jobs: 1, trigger }],
  [3, { type: 'RunCreated', jobs: 1, trigger, startMs: 1 }],
  [2, { type: 'JobWaiting', job: 0, reason: 'PAUSED' }],
  [2, { type: 'JobWaiting', job: 0, reason: 'HELD' }],
  [1, { type: 'AttemptTimedOut', job: 0, attempt: 1 }],
  [2, { type: 'AttemptTimedOut', job: 0, attempt: 1, silenceMs: 1_000 }],
  [2, { type: 'AttemptHeard', job: 0, attempt: 1, heardMs: 1 }],
  [
    4,
    {
      type: 'AttemptArtifact',
      job: 0,
      attempt: 1,
      number: 1,
      artifact: { name: 'a', digest: 'crc32c:00000000', sizeBytes: 0, uri: '', mediaType: '' },
    },
  ],
  [4, { type: 'JobEvaluated', job: 0, group: 'g' }],
  [4, { type: 'JobEvaluated', job: 0, expressionFailures: { first: [], count: 1 } }],
  [5, { type: 'JobEvaluated', job: 0, group: 'g', groupLimit: 2 }],
  [5, { type: 'JobEvaluated', job: 0, rates: ['r'], rateLimits: [2] }],
  [4, { type: 'JobsAdded', job: 0, cells: [] }],
  [5, { type: 'JobsAdded', job: 0, cells: [], maxParallel: 2 }],
  [4, { type: 'JobsAppended', job: 0, attempt: 1, jobs: [jobNamed('a', { concurrency: { ...group, limit: 2 } })] }],
  [5, { type: 'JobsAppended', job: 0, attempt: 1, jobs: [jobNamed('a', { concurrency: group })] }],
  [2, { type: 'RunPaused', ...asker }],
  [2, { type: 'RunResumed', ...asker }],
  [2, { type: 'JobHeld', job: 0, ...asker }],
  [2, { type: 'JobReleased', job: 0, ...asker }],
])('version %i is the lowest that describes %j', (version, event) => {
  expect(versionOf(event)).toBe(version);
  expect(upcast(version, event)).toBe(event);
});

test('an event of a newer build is not guessed at', () => {
  const event = { type: 'JobQueued', job: 0 } as const;
  expect(() => upcast(EVENT_VERSION + 1, event)).toThrow('event JobQueued has version 6, newer than 5');
});
