// Drivers whose frames come twice, in another order, or after they have lost the right to say them.
import { FailureClass } from '@conveyor/client';
import { FinishOutcome, HeldPhase } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { monotonicMs } from '../../bench/monotonic-clock.ts';
import { jobOf } from '../../e2e/jobs.ts';
import { addressOf, finishFrame, logFrame, type RawSession } from '../../e2e/raw-driver.ts';
import { eventually } from '../eventually.ts';
import type { Fault } from '../fault.ts';
import type { Stage } from '../stage.ts';

export const frameFaults: readonly Fault[] = [
  {
    name: 'repeated-frames',
    says: 'drivers say frames twice, and those of different attempts in another order',
    scene: { meddle: true },
    async strike(stage) {
      await stage.flow(20);
      const recoveryMs = await stage.recovery(monotonicMs());
      const meddled = (await stage.journal()).map((entry) =>
        'say' in entry && entry.say === 'meddled' ? entry.frames : 0,
      );
      return { fired: meddled.reduce((sum, frames) => sum + frames, 0), recoveryMs };
    },
  },
  {
    name: 'stale-writes',
    says: 'a driver writes under an old fence, gives a second result, and goes on with a session that another one replaced',
    async strike(stage) {
      const fired = (await oldFence(stage)) + (await secondResult(stage)) + (await replacedSession(stage));
      return { fired, recoveryMs: await stage.recovery(monotonicMs()) };
    },
  },
];

const WRITTEN = Buffer.from('written by who may\n');
const FORGED = Buffer.from('written by who may not\n');

/** A driver of its own with a job that it has begun. */
async function begin(stage: Stage, name: string) {
  const place = stage.places[0]!;
  const hello = { driver: name, incarnation: Buffer.from(name.padEnd(16, '.')) };
  const session = await stage.openSession(place, { hello, silent: true });
  const retry = { initialBackoff: { seconds: 0n, nanos: 0 } };
  const runId = await stage.createRun(place, { jobs: [jobOf(name, { steps: [] }, { retry })] });
  const offer = await session.startNext();
  session.say(logFrame(offer, 0, WRITTEN));
  await session.next('logAck');
  return { hello, session, runId, offer };
}

/** Returns 1 once a write that must not be taken was answered, however: by one of these frames, or by the end of the session. */
async function answered(session: RawSession, ...cases: ('revoke' | 'finishAck' | 'logAck')[]): Promise<number> {
  let over = false;
  void session.ended.then(() => (over = true));
  const isAnswered = (): boolean => over || cases.some((one) => session.arrived(one).length > 0);
  return (await eventually(isAnswered, 10_000)) ? 1 : 0;
}

async function oldFence(stage: Stage): Promise<number> {
  const { session, runId, offer: first } = await begin(stage, 'old-fence');
  session.say(finishFrame(first, WRITTEN, { outcome: FinishOutcome.FAILED, failureClass: FailureClass.DRIVER }));
  await session.next('finishAck');
  const second = await session.startNext();
  // A result of the first attempt, while the second one is live.
  session.say(finishFrame(first, WRITTEN, { message: 'of an old fence' }));
  const fired = await answered(session, 'revoke', 'finishAck');
  session.say(finishFrame(second));
  await answered(session, 'revoke', 'finishAck');
  await stage.finished(runId);
  session[Symbol.dispose]();
  return fired;
}

async function secondResult(stage: Stage): Promise<number> {
  const { session, runId, offer } = await begin(stage, 'second-result');
  session.say(finishFrame(offer, WRITTEN));
  await session.next('finishAck');
  session.say(finishFrame(offer, WRITTEN, { outcome: FinishOutcome.FAILED, failureClass: FailureClass.WORKLOAD }));
  const fired = await answered(session, 'revoke', 'finishAck');
  await stage.finished(runId);
  session[Symbol.dispose]();
  return fired;
}

/** The session that was replaced is at another replica, which learns of it only by its next write. */
async function replacedSession(stage: Stage): Promise<number> {
  const { hello, session: old, runId, offer } = await begin(stage, 'replaced');
  const held = [{ ...addressOf(offer), phase: HeldPhase.RUNNING, logOffset: BigInt(WRITTEN.length) }];
  const other = stage.places.at(-1)!;
  const successor = await stage.openSession(other, { hello: { ...hello, held } });
  old.say(logFrame(offer, WRITTEN.length, FORGED));
  const fired = await answered(old, 'revoke', 'logAck');
  old[Symbol.dispose]();
  const [{ log_size: size } = { log_size: 0 }] = await stage.system.query<{ log_size: number }>(
    'select log_size from attempts where run_id = $1',
    [runId],
  );
  successor.say(finishFrame(offer, Buffer.concat([WRITTEN, FORGED]).subarray(0, size)));
  await answered(successor, 'revoke', 'finishAck');
  await stage.finished(runId);
  successor[Symbol.dispose]();
  return fired;
}
