// A process that is a driver which floods the control plane in one way, over and over, until it is stopped. It is a process of its own
// so that what it costs is not counted as the time of those who measure.
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises';
import { AnnotationLevel, ProgressPhase } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { processSettings, ready } from './processes.ts';
import {
  type Address,
  addressOf,
  type DriverFrameInit,
  logFrame,
  messageOf,
  openRawSession,
  type RawSession,
} from './raw-driver.ts';

export interface FloodSettings {
  readonly address: string;
  readonly token: string;
  readonly flood: Flood;
}

/** It serves the driver of the flood's name; a flood about an attempt waits for one job of it. */
export type Flood = keyof typeof FLOODS;

interface FloodPlan {
  /** What one message holds. */
  readonly frames: (attempt: Address) => DriverFrameInit[];
  /** Whether it is about an attempt that runs. Default: false. */
  readonly onAttempt?: boolean;
  /** Default: as many messages as go out. */
  readonly messagesPerSecond?: number;
  /** Never reads an answer. Default: false. */
  readonly deaf?: boolean;
}

const nowhere = { attemptId: 'nowhere', fence: 1 };

function many(count: number, frame: DriverFrameInit): DriverFrameInit[] {
  return Array<DriverFrameInit>(count).fill(frame);
}

export const FLOODS = {
  heartbeats: {
    frames: () => [{ case: 'heartbeat', value: { seq: 1n } }],
    messagesPerSecond: 10_000,
  },
  'tiny-messages': { frames: () => [{ case: 'accept', value: nowhere }] },
  'tiny-frames': { frames: () => many(10_000, { case: 'accept', value: nowhere }) },
  'unread-answers': {
    frames: () => many(5_000, { case: 'accept', value: { attemptId: 'x'.repeat(128), fence: 1 } }),
    deaf: true,
  },
  slots: {
    frames: () => Array.from({ length: 5_000 }, (_, total) => ({ case: 'slots', value: { total } })),
  },
  progress: {
    frames: (attempt) =>
      many(5_000, {
        case: 'progress',
        value: { ...addressOf(attempt), progress: { phase: ProgressPhase.RUNNING, message: 'x'.repeat(100) } },
      }),
    onAttempt: true,
  },
  sections: {
    frames: (attempt) =>
      Array.from({ length: 5_000 }, (_, offset) => ({
        case: 'section',
        value: { ...addressOf(attempt), section: { name: 'again', offset: BigInt(offset) } },
      })),
    onAttempt: true,
  },
  annotations: {
    frames: (attempt) =>
      Array.from({ length: 2_000 }, (_, index) => ({
        case: 'annotation',
        value: {
          ...addressOf(attempt),
          number: index + 1,
          annotation: { level: AnnotationLevel.INFO, text: 'x'.repeat(100) },
        },
      })),
    onAttempt: true,
  },
  values: {
    frames: (attempt) =>
      Array.from({ length: 2_000 }, (_, index) => {
        const value = { kind: { case: 'stringValue', value: 'x'.repeat(100) } } as const;
        // A change that is said again is answered again.
        const said = { ...addressOf(attempt), number: 1, key: 'again' };
        return index % 2 === 0 ? { case: 'getValue', value: said } : { case: 'setValue', value: { ...said, value } };
      }),
    onAttempt: true,
  },
  accepts: { frames: (attempt) => many(5_000, { case: 'accept', value: addressOf(attempt) }), onAttempt: true },
  gaps: {
    frames: (attempt) => many(5_000, logFrame(attempt, 2 ** 40, Buffer.from('x'))),
    onAttempt: true,
  },
  'commands-of-nobody': {
    frames: () =>
      Array.from({ length: 5_000 }, (_, job) => ({
        case: 'reject',
        value: { attemptId: `01890000-0000-7000-8000-000000000000.${job}.1`, fence: 1 },
      })),
  },
} satisfies Record<string, FloodPlan>;

/** It counts as a flood once so many messages went out. */
const MIN_MESSAGES = 20;
/** How many messages go out before the flood looks whether they were taken. */
const BURST = 10;

async function main(): Promise<void> {
  const { address, token, flood } = processSettings<FloodSettings>();
  const { frames, onAttempt = false, messagesPerSecond, deaf = false }: FloodPlan = FLOODS[flood];
  const over = new AbortController();
  process.once('SIGTERM', () => over.abort());
  let attempt: Address | undefined;
  let sent = 0;

  async function pour(session: RawSession, message: Uint8Array): Promise<void> {
    let ended = false;
    void session.ended.then(() => (ended = true));
    if (deaf) session.stopReading();
    const beganMs = performance.now();
    for (let here = 0; !over.signal.aborted && !ended; ) {
      const seconds = (performance.now() - beganMs) / 1_000;
      const due = messagesPerSecond === undefined ? here + BURST : seconds * messagesPerSecond;
      for (; here < due; here++) {
        session.sayBytes(message);
        if (++sent === MIN_MESSAGES) ready({});
      }
      for (const kind of ['revoke', 'pulse', 'logAck', 'start', 'valueAnswer'] as const) session.arrived(kind);
      // Nothing tells a driver which does not read that its session has ended.
      await Promise.race([session.drained(), delay(1_000), session.ended]);
      await turn();
    }
  }

  while (!over.signal.aborted) {
    using session = await openRawSession({ address, token, hello: { driver: flood, instanceId: flood } });
    if (onAttempt) attempt ??= await session.startNext();
    await pour(session, messageOf(frames(attempt ?? nowhere)));
  }
  process.exit(0);
}

if (import.meta.main) await main();
