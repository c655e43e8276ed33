// Drivers that break the rules about an attempt. Each gets a definite answer, the attempt comes to a definite end, the session goes on,
// and its slot is free again.
import { FailureClass, type Job, JobState } from '@conveyor/client';
import { FinishOutcome } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { AnnotationLevel, AttemptState, ProgressPhase } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { attemptsOf, createJob, finishedJob, jobOf, storedLog } from './jobs.ts';
import { type Address, addressOf, type DriverFrameInit, finishFrame, logFrame, type RawSession } from './raw-driver.ts';
import { startSystem, type System } from './system.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem({ replicas: 1 });
});
afterAll(() => system[Symbol.asyncDispose]());

type Say = (attempt: Address) => DriverFrameInit;

const log = Buffer.from('0123456789\n');

const output = (attempt: Address, text: string): DriverFrameInit => ({
  case: 'output',
  value: { ...addressOf(attempt), key: 'said', value: { kind: { case: 'stringValue', value: text } } },
});
const annotation = (attempt: Address, number: number, text = 'said'): DriverFrameInit => ({
  case: 'annotation',
  value: { ...addressOf(attempt), number, annotation: { level: AnnotationLevel.INFO, text } },
});
const progress = (attempt: Address, message: string): DriverFrameInit => ({
  case: 'progress',
  value: { ...addressOf(attempt), progress: { phase: ProgressPhase.RUNNING, message } },
});
const section = (attempt: Address, name: string): DriverFrameInit => ({
  case: 'section',
  value: { ...addressOf(attempt), section: { name, offset: 0n } },
});
const handle = (attempt: Address, bytes: number): DriverFrameInit => ({
  case: 'checkpoint',
  value: { ...addressOf(attempt), handle: Buffer.alloc(bytes) },
});

const setValue = (attempt: Address, number: number, text: string): DriverFrameInit => ({
  case: 'setValue',
  value: { ...addressOf(attempt), number, key: 'said', value: { kind: { case: 'stringValue', value: text } } },
});

/** Everything that only a started attempt may say. */
const writes: Record<string, Say> = {
  Log: (attempt) => logFrame(attempt, 0, log),
  Section: (attempt) => section(attempt, 'said'),
  Output: (attempt) => output(attempt, 'said'),
  Progress: (attempt) => progress(attempt, 'said'),
  Checkpoint: (attempt) => handle(attempt, 1),
  Annotation: (attempt) => annotation(attempt, 1),
  DeclareArtifact: (attempt) => ({
    case: 'declareArtifact',
    value: { ...addressOf(attempt), number: 1, artifact: { name: 'said', digest: 'crc32c:00ff00ff' } },
  }),
  // One that is skipped, so that its run ends where it may be appended.
  AppendJobs: (attempt) => ({
    case: 'appendJobs',
    value: { ...addressOf(attempt), number: 1, jobs: [{ name: 'said', gate: {}, if: '1 == 2' }] },
  }),
  GetValue: (attempt) => ({ case: 'getValue', value: { ...addressOf(attempt), number: 1, key: 'said' } }),
  SetValue: (attempt) => setValue(attempt, 1, 'said'),
  DeleteValue: (attempt) => ({ case: 'deleteValue', value: { ...addressOf(attempt), number: 1, key: 'said' } }),
  Finish: (attempt) => finishFrame(attempt, log),
};

async function open(driver: string): Promise<{ session: RawSession; job: Job }> {
  const [at] = system.replicas;
  const session = await system.openSession({ at: at!, hello: { driver } });
  return { session, job: await createJob(at!.client, jobOf(driver, { steps: [] }, { retry: { driver: 0 } })) };
}

function nameOf(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 50);
}

async function endOf(job: Job): Promise<unknown[]> {
  const { client } = system.replicas[0]!;
  const { state, failure } = await finishedJob(client, job);
  return [
    JobState[state],
    failure && FailureClass[failure.class],
    ...(await attemptsOf(client, job.jobId)).map((attempt) => attempt.state),
  ];
}

/** The one slot of the session is free, and the session is as good as before. */
async function goesOn(session: RawSession, driver: string): Promise<void> {
  const job = await createJob(system.replicas[0]!.client, jobOf(driver, { steps: [] }));
  const offer = await session.next('offer');
  session.say({ case: 'accept', value: addressOf(offer) });
  // What was said of the attempt before may still be there.
  while ((await session.next('start')).attemptId !== offer.attemptId);
  session.say(finishFrame(offer));
  await expect.poll(() => session.arrived('finishAck').map(({ attemptId }) => attemptId)).toContain(offer.attemptId);
  expect((await endOf(job))[0]).toBe('SUCCEEDED');
}

describe('what is written to an attempt before its start fails it:', () => {
  test.each(Object.entries(writes))('%s', async (name, write) => {
    const driver = `early-${nameOf(name)}`;
    const { session, job } = await open(driver);
    const offer = await session.next('offer');
    session.say(write(offer));
    expect(await session.next('revoke')).toMatchObject(addressOf(offer));
    expect(await endOf(job)).toEqual(['FAILED', 'INVALID', 'REJECTED']);
    await goesOn(session, driver);
  });

  test.each(Object.entries(writes))('%s, although its Accept is under way', async (name, write) => {
    const driver = `hasty-${nameOf(name)}`;
    const { session, job } = await open(driver);
    const offer = await session.next('offer');
    session.say(write(offer), { case: 'accept', value: addressOf(offer) }, write(offer));
    session.say(finishFrame(offer, new Uint8Array(), { logLost: true }));
    // Whichever is committed first: it comes to an end, and nothing stays behind.
    expect([
      ['FAILED', 'INVALID', 'REJECTED'],
      ['FAILED', 'INVALID', 'FAILED'],
      ['SUCCEEDED', undefined, 'SUCCEEDED'],
    ]).toContainEqual(await endOf(job));
    await goesOn(session, driver);
  });
});

describe('what is written to an attempt behind its result is answered by Revoke and changes nothing:', () => {
  const others = { ...writes, Finish: (attempt: Address) => finishFrame(attempt, log, { logLost: true }) };
  test.each(Object.entries(others))('%s', async (name, write) => {
    const driver = `late-${nameOf(name)}`;
    const { session, job } = await open(driver);
    const offer = await session.startNext();
    session.say(logFrame(offer, 0, log), finishFrame(offer, log));
    await session.next('finishAck');
    const before = await attemptRow(job);
    session.say(write(offer));
    expect(await session.next('revoke')).toMatchObject({ ...addressOf(offer), state: AttemptState.SUCCEEDED });
    expect(await attemptRow(job)).toEqual(before);
    await goesOn(session, driver);
  });
});

async function attemptRow({ runId }: Job): Promise<unknown> {
  const [row] = await system.query(
    `select to_json(a) as attempt, (select count(*) from events e where e.run_id = a.run_id) as events,
       (select count(*) from log_sections s where s.run_id = a.run_id) as sections
     from attempts a where a.run_id = $1`,
    [runId],
  );
  return row;
}

describe('what nobody may say of an attempt in hand fails it as INVALID:', () => {
  const cases: Record<string, Say> = {
    'Reject after Start': (attempt) => ({ case: 'reject', value: addressOf(attempt) }),
    'Disown of what is no orphan': (attempt) => ({ case: 'disown', value: addressOf(attempt) }),
    'a log at a negative offset': (attempt) => logFrame(attempt, -1, log),
    'a log frame without bytes': (attempt) => logFrame(attempt, 0, new Uint8Array()),
    'a log frame over its bound': (attempt) => logFrame(attempt, 0, new Uint8Array(524_289)),
    'a checkpoint over its bound': (attempt) => handle(attempt, 4_097),
    'an output over the bound of all': (attempt) => output(attempt, 'x'.repeat(65_530)),
    'NUL in an output': (attempt) => output(attempt, 'a\0b'),
    'NUL in an annotation': (attempt) => annotation(attempt, 1, 'a\0b'),
    'NUL in a section': (attempt) => section(attempt, 'a\0b'),
    'NUL in a progress': (attempt) => progress(attempt, 'a\0b'),
    'a result without an outcome': (attempt) =>
      finishFrame(attempt, new Uint8Array(), { outcome: FinishOutcome.UNSPECIFIED }),
    'a result with a negative size': (attempt) => finishFrame(attempt, new Uint8Array(), { logSize: -1n }),
  };
  test.each(Object.entries(cases))('%s', async (name, wrong) => {
    const driver = nameOf(`wrong ${name}`);
    const { session, job } = await open(driver);
    const offer = await session.startNext();
    session.say(wrong(offer));
    expect(await session.next('revoke')).toMatchObject(addressOf(offer));
    expect(await endOf(job)).toEqual(['FAILED', 'INVALID', 'FAILED']);
    await goesOn(session, driver);
  });

  test.each(['adopt', 'disown'] as const)('an offer that is answered by %s', async (answer) => {
    const driver = `offer-${answer}`;
    const { session, job } = await open(driver);
    const offer = await session.next('offer');
    session.say({ case: answer, value: addressOf(offer) });
    expect(await session.next('revoke')).toMatchObject(addressOf(offer));
    expect(await endOf(job)).toEqual(['FAILED', 'INVALID', 'REJECTED']);
    await goesOn(session, driver);
  });
});

describe('what is out of order but harmless changes nothing:', () => {
  async function worksOn(driver: string, wrong: (session: RawSession, attempt: Address) => Promise<void>) {
    const { session, job } = await open(driver);
    const offer = await session.startNext();
    await wrong(session, offer);
    session.say(logFrame(offer, 0, log), finishFrame(offer, log));
    await session.next('finishAck');
    expect(await endOf(job)).toEqual(['SUCCEEDED', undefined, 'SUCCEEDED']);
    expect(await storedLog(system.replicas[0]!.client, job.jobId)).toEqual(log);
    return { session, job };
  }

  test('Accept again, before and after Start', async () => {
    const { session, job } = await open('twice');
    const offer = await session.next('offer');
    const accept: DriverFrameInit = { case: 'accept', value: addressOf(offer) };
    session.say(accept, accept, accept);
    await session.next('start');
    session.say(accept);
    expect(await session.next('start')).toMatchObject(addressOf(offer));
    session.say(finishFrame(offer));
    await session.next('finishAck');
    expect(session.arrived('start')).toEqual([]);
    expect(await endOf(job)).toEqual(['SUCCEEDED', undefined, 'SUCCEEDED']);
    const events = await system.query("select from events where run_id = $1 and type = 'AttemptStarted'", [job.runId]);
    expect(events).toHaveLength(1);
  });

  test('Adopt of what is in hand', async () => {
    await worksOn('adopts', async (session, attempt) => {
      session.say({ case: 'adopt', value: addressOf(attempt) });
    });
  });

  test('the fence of an attempt that is still to come is answered by Revoke', async () => {
    await worksOn('future', async (session, { attemptId, fence }) => {
      const next = { attemptId: attemptId.replace(/1$/, '2'), fence: fence + 1 };
      for (const write of Object.values(writes)) {
        session.say(write(next));
        expect(await session.next('revoke')).toMatchObject(next);
      }
    });
  });

  test.each([1, Number.MAX_SAFE_INTEGER])('a log at offset %d is a gap', async (offset) => {
    await worksOn(`gap-${offset}`, async (session, attempt) => {
      session.say(logFrame(attempt, offset, log));
      expect(await session.next('logAck')).toMatchObject({ offset: 0n, gap: true });
    });
  });

  test('annotations beyond their number, out of order and again are left out', async () => {
    const { job } = await worksOn('chatty', async (session, attempt) => {
      const numbers = Array.from({ length: 150 }, (_, index) => index + 1);
      session.say(annotation(attempt, 7), ...numbers.map((number) => annotation(attempt, number)));
      session.say(...numbers.map((number) => annotation(attempt, number, 'again')));
    });
    const [row] = await system.query<{ annotations: { text: string }[] }>(
      'select annotations from attempts where run_id = $1',
      [job.runId],
    );
    expect(row!.annotations.map(({ text }) => text)).toEqual(Array(100).fill('said'));
  });
});

describe('log bytes beyond a window', () => {
  const piece = Buffer.alloc(500_000, 'x');
  /** Sends so many pieces while nothing can be stored. */
  async function sendUnacknowledged(driver: string, pieces: number) {
    const { session, job } = await open(driver);
    const offer = await session.startNext();
    await system.query('begin');
    await system.query('select from attempts where run_id = $1 for update', [job.runId]);
    for (let at = 0; at < pieces; at++) session.say(logFrame(offer, at * piece.length, piece));
    return { session, job, offer, release: () => system.query('commit') };
  }

  test('of the attempt are taken, as long as the window of the session holds', async () => {
    const { session, job, offer, release } = await sendUnacknowledged('wide', 8);
    await release();
    const whole = Buffer.concat(Array<Buffer>(8).fill(piece));
    session.say(finishFrame(offer, whole));
    await session.next('finishAck');
    expect(await endOf(job)).toEqual(['SUCCEEDED', undefined, 'SUCCEEDED']);
    expect((await attemptsOf(system.replicas[0]!.client, job.jobId))[0]).toMatchObject({ logState: 'SEALED' });
  });

  test('of the session end it', async () => {
    const { session, release } = await sendUnacknowledged('too-wide', 20);
    expect(await session.ended).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringContaining('session_log_window'),
    });
    await release();
  });
});

test('frames that wait without an answer end their session once they take too much memory', async () => {
  const { session, job } = await open('hoarder');
  const offer = await session.startNext();
  await system.query('begin');
  await system.query('select from attempts where run_id = $1 for update', [job.runId]);
  const message = Array.from({ length: 10_000 }, () => progress(offer, 'x'.repeat(50)));
  for (let sent = 0; sent < 20; sent++) session.say(...message);
  expect(await session.ended).toMatchObject({
    code: status.RESOURCE_EXHAUSTED,
    details: expect.stringContaining('wait for an answer'),
  });
  await system.query('commit');
});

test('Goodbye, however often, gives back what is held, orphans too, and nothing behind it counts', async () => {
  const driver = 'farewell';
  const { session: first, job } = await open(driver);
  const orphan = await first.startNext();
  first[Symbol.dispose]();
  const session = await system.openSession({ at: system.replicas[0]!, hello: { driver } });
  expect(session.welcome.orphans).toMatchObject([{ offer: addressOf(orphan) }]);
  const goodbye: DriverFrameInit = { case: 'goodbye', value: {} };
  session.say(goodbye, { case: 'adopt', value: addressOf(orphan) }, ...Array<DriverFrameInit>(1_000).fill(goodbye));
  expect(await session.ended).toMatchObject({ code: status.OK });
  expect(session.arrived('start')).toEqual([]);
  // Given back: the next session gets it as a new attempt.
  const next = await system.openSession({ at: system.replicas[0]!, hello: { driver } });
  expect(next.welcome.orphans).toEqual([]);
  const again = await next.startNext();
  expect(again).toMatchObject({ jobId: orphan.jobId, fence: 2 });
  next.say(finishFrame(again));
  await next.next('finishAck');
  expect(await endOf(job)).toEqual(['SUCCEEDED', undefined, 'LOST', 'SUCCEEDED']);
});

test('a change of a value that is said again has one effect; one that was counted wrongly fails the attempt', async () => {
  const { session, job } = await open('counting');
  const { client } = system.replicas[0]!;
  expect(session.welcome.capabilities).toContain('values');
  const offer = await session.startNext();
  session.say(setValue(offer, 4, 'mine'));
  expect(await session.next('valueAnswer')).toMatchObject({ ...addressOf(offer), number: 4, version: 1n, error: 0 });
  await client.values.set(job.runId, 'said', 'of somebody else');
  session.say(setValue(offer, 4, 'mine'));
  expect(await session.next('valueAnswer')).toMatchObject({ number: 4, version: 1n, error: 0 });
  expect((await client.values.get(job.runId, 'said')).version).toBe(2n);
  session.say(setValue(offer, 3, 'mine'));
  expect(await session.next('revoke')).toMatchObject(addressOf(offer));
  expect(await endOf(job)).toEqual(['FAILED', 'INVALID', 'FAILED']);
  expect((await client.values.get(job.runId, 'said')).version).toBe(2n);
  await goesOn(session, 'counting');
});
