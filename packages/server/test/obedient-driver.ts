// Owns driver instances at a running engine that take, decline or ignore every offer, and hold what they took until a test says otherwise.
import { randomBytes } from 'node:crypto';
import type { Hello, ServerFrame } from '../src/core/frames.ts';
import { type AttemptKey, formatJobId, type JobKey } from '../src/core/ids.ts';
import type { DriverSession } from '../src/engine/driver-operations.ts';
import type { Engine } from '../src/engine/engine.ts';

export interface ObedientDriver {
  /** The attempts that were started here, in order. */
  readonly started: readonly AttemptKey[];
  /** Whether an attempt of the job was started here. */
  holds(job: JobKey): boolean;
  /** Ends an attempt that it holds. */
  finish(job: JobKey, outcome: 'SUCCEEDED' | 'FAILED'): void;
  /** Leaves for good: it is over once the session is. */
  leave(): void;
}

const HEARTBEAT_MS = 5_000;

type Identity = Pick<Hello, 'driver' | 'instance'> & Partial<Hello>;

export async function connectObedient(
  { drivers }: Engine,
  hello: Identity,
  answer: 'Accept' | 'Reject' | 'Nothing' = 'Accept',
): Promise<ObedientDriver> {
  const held = new Map<string, AttemptKey>();
  const started: AttemptKey[] = [];
  const opened = Promise.withResolvers<DriverSession>();
  async function say(frame: Parameters<DriverSession['receive']>[0][number]): Promise<void> {
    (await opened.promise).receive([frame]);
  }
  function hear(frame: ServerFrame): void {
    if (frame.type === 'Start') {
      held.set(formatJobId(frame.key), frame.key);
      started.push(frame.key);
    }
    if (frame.type !== 'Offer' || answer === 'Nothing') return;
    void say(
      answer === 'Accept'
        ? { type: 'Accept', key: frame.key }
        : { type: 'Reject', key: frame.key, reason: 'no', invalid: false },
    );
  }
  const session = await drivers.openSession(
    { role: 'driver', id: 'test' },
    {
      incarnation: randomBytes(16),
      capabilities: [],
      labels: {},
      slots: 1,
      pools: {},
      held: [],
      version: '',
      ...hello,
    },
    { send: hear, queuedBytes: () => 0, end: () => clearInterval(heart) },
  );
  let beats = 0;
  const heart = setInterval(() => session.receive([{ type: 'Heartbeat', seq: ++beats }]), HEARTBEAT_MS);
  opened.resolve(session);
  return {
    started,
    holds: (job) => held.has(formatJobId(job)),
    finish(job, outcome) {
      const key = held.get(formatJobId(job));
      if (key === undefined) throw new Error(`job ${formatJobId(job)} is not held here`);
      const log = { logSize: 0, logCrc32c: 0, logLost: false };
      session.receive([{ type: 'Finish', key, outcome, failureClass: 'WORKLOAD', message: '', ...log }]);
    },
    leave: () => session.receive([{ type: 'Goodbye', reason: '' }]),
  };
}
