import { type MessageInitShape, create } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { WaitReason } from '@conveyor/client';
import { EventSchema } from '@conveyor/protocol/conveyor/v1/event_pb.js';
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
