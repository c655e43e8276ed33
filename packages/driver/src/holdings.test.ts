// The holdings against a control plane that may say anything at any time: no attempt runs twice, none takes more than its slot, and
// nothing is left once all is taken back.
import { create, fromBinary, type MessageInitShape } from '@bufbuild/protobuf';
import {
  SessionRequestSchema,
  ServerFrameSchema,
  WelcomeSchema,
} from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Holdings } from './holdings.ts';
import type { JobContext } from './job-context.ts';
import { silentLogger } from './logger.ts';
import { Outbox } from './outbox.ts';

const SLOTS = 2;

const about = fc.record({ attemptId: fc.constantFrom('a', 'b', 'c', 'd'), fence: fc.constantFrom(1, 1, 1, 2) });
const offset = fc.constantFrom(-1n, 0n, 1n, 5n, 9n, 1n << 62n);

type FrameInit = NonNullable<MessageInitShape<typeof ServerFrameSchema>['frame']>;

const frames: fc.Arbitrary<FrameInit> = fc.oneof(
  about.map((value) => ({ case: 'offer' as const, value })),
  about.map((value) => ({ case: 'offer' as const, value: { ...value, fence: 1 } })),
  fc.tuple(about, offset).map(([value, logOffset]) => ({ case: 'start' as const, value: { ...value, logOffset } })),
  about.map((value) => ({ case: 'start' as const, value })),
  about.map((value) => ({ case: 'revoke' as const, value })),
  about.map((value) => ({ case: 'finishAck' as const, value })),
  fc.tuple(about, fc.nat(3)).map(([value, phase]) => ({ case: 'cancel' as const, value: { ...value, phase } })),
  fc.tuple(about, offset, offset, fc.boolean()).map(([value, at, windowEnd, gap]) => ({
    case: 'logAck' as const,
    value: { ...value, offset: at, windowEnd, gap },
  })),
  fc.tuple(about, offset).map(([value, at]) => ({ case: 'logMissing' as const, value: { ...value, offset: at } })),
  fc.constant({ case: undefined } as const),
);

const verdicts = fc.array(
  fc.tuple(about, fc.nat(6), offset, fc.option(about), fc.nat(2)).map(([value, kind, logOffset, start, cancel]) => ({
    ...value,
    kind,
    logOffset,
    cancel,
    ...(start !== null && { start }),
  })),
  { maxLength: 5 },
);
const orphans = fc.array(fc.record({ offer: about, cancel: fc.nat(2) }), { maxLength: 2 });
const windows = fc.constantFrom(-1n, 0n, 3n, 1n << 62n);
const welcomes = fc.record({
  verdicts,
  orphans,
  attemptLogWindow: windows,
  sessionLogWindow: windows,
  maxLogBytes: windows,
});

type Happening =
  | { readonly type: 'frame'; readonly frame: FrameInit }
  /** An offer and its start, as they come from who is honest. */
  | { readonly type: 'begin'; readonly attemptId: string }
  | { readonly type: 'welcome'; readonly welcome: MessageInitShape<typeof WelcomeSchema> }
  | { readonly type: 'disconnect' | 'turn' }
  | { readonly type: 'end'; readonly pick: number; readonly well: boolean };

const happenings: fc.Arbitrary<Happening[]> = fc.array(
  fc.oneof(
    { weight: 20, arbitrary: frames.map((frame): Happening => ({ type: 'frame', frame })) },
    {
      weight: 3,
      arbitrary: fc.constantFrom('a', 'b', 'c', 'd').map((attemptId): Happening => ({ type: 'begin', attemptId })),
    },
    { weight: 3, arbitrary: welcomes.map((welcome): Happening => ({ type: 'welcome', welcome })) },
    { weight: 1, arbitrary: fc.constant<Happening>({ type: 'disconnect' }) },
    { weight: 3, arbitrary: fc.constant<Happening>({ type: 'turn' }) },
    {
      weight: 4,
      arbitrary: fc.tuple(fc.nat(3), fc.boolean()).map(([pick, well]): Happening => ({ type: 'end', pick, well })),
    },
  ),
  { maxLength: 60, size: 'max' },
);

test('whatever is said, no attempt runs twice, and all that is taken back is let go', async () => {
  let ran = 0;
  await fc.assert(
    fc.asyncProperty(happenings, fc.boolean(), async (events, adopts) => {
      ran += await liveThrough(events, adopts);
    }),
    { numRuns: 1_000 },
  );
  expect(ran).toBeGreaterThan(500);
});

/** Returns how many attempts ran. */
async function liveThrough(events: readonly Happening[], adopts: boolean): Promise<number> {
  const ran: string[] = [];
  const working = new Map<string, PromiseWithResolvers<void>>();
  const adopted = new Set<string>();
  const work = async ({ job, killed, log }: JobContext): Promise<void> => {
    ran.push(job.attemptId);
    const end = Promise.withResolvers<void>();
    working.set(job.attemptId, end);
    // What is adopted may have been told to end before.
    if (killed.aborted) end.resolve();
    killed.addEventListener('abort', () => end.resolve());
    await log('some bytes');
    await end.promise.finally(() => working.delete(job.attemptId));
  };
  const adopt: typeof work = (context) => {
    adopted.add(context.job.attemptId);
    return work(context);
  };
  const holdings = new Holdings({ name: 'worker', slots: SLOTS, run: work, ...(adopts && { adopt }) }, silentLogger);

  const outboxes: Outbox[] = [];
  function connect(welcome: MessageInitShape<typeof WelcomeSchema>): void {
    const said = create(WelcomeSchema, welcome);
    const outbox = new Outbox(
      (message, sent) => {
        fromBinary(SessionRequestSchema, message);
        setImmediate(sent);
      },
      { maxMessageBytes: 1 << 20, sessionLogWindow: Number(said.sessionLogWindow) },
      () => undefined,
    );
    outboxes.push(outbox);
    holdings.connect(said, outbox);
  }

  function happen(event: Happening): void {
    switch (event.type) {
      case 'frame':
        return holdings.receive(create(ServerFrameSchema, { frame: event.frame }).frame);
      case 'begin': {
        const value = { attemptId: event.attemptId, fence: 1 };
        holdings.receive(create(ServerFrameSchema, { frame: { case: 'offer', value } }).frame);
        return holdings.receive(create(ServerFrameSchema, { frame: { case: 'start', value } }).frame);
      }
      case 'welcome':
        outboxes.at(-1)?.close();
        holdings.disconnect();
        return connect(event.welcome);
      case 'disconnect':
        outboxes.at(-1)?.close();
        return holdings.disconnect();
      case 'end': {
        const end = [...working.values()][event.pick];
        return event.well ? end?.resolve() : end?.reject(new Error('no luck'));
      }
      case 'turn':
        return;
    }
  }

  connect({});
  for (const event of events) {
    happen(event);
    if (event.type === 'turn') await new Promise(setImmediate);
    expect(ran).toEqual([...new Set(ran)]);
    const held = holdings.held.map(({ id }) => id);
    expect(held).toEqual([...new Set(held)]);
    const own = [...working.keys()].filter((id) => !adopted.has(id));
    expect(own.length).toBeLessThanOrEqual(SLOTS);
  }
  // A Welcome that knows of nothing takes all of it back.
  happen({ type: 'welcome', welcome: {} });
  await holdings.until(() => holdings.idle);
  expect(holdings.held).toEqual([]);
  for (const outbox of outboxes) outbox.close();
  return ran.length;
}
