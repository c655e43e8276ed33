// How work appends jobs to its run, what it is told when that cannot be, and how it outlives a session.
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type AppendAnswerSchema,
  CancelPhase,
  HeldPhase,
  VerdictKind,
  VerdictSchema,
} from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { ErrorReason } from '@conveyor/protocol/conveyor/v1/error_pb.js';
import { JobDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { status } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';
import { AppendError, type JobInit, JobStopped } from '@conveyor/driver';
import { startDriver, startServer, working } from './fixture.ts';
import type { ScriptedSession } from './scripted-server.ts';

const capabilities = ['append_jobs'];
const pack: JobInit = { name: 'pack', driver: 'shell', spec: { commands: ['make pack'] } };
const push: JobInit = { name: 'push', driver: 'shell', needs: ['pack'] };
const kept = { verdicts: [create(VerdictSchema, { attemptId: 'a', fence: 1, kind: VerdictKind.KEEP })] };

function answer(
  session: ScriptedSession,
  number: number,
  said: MessageInitShape<typeof AppendAnswerSchema> = {},
): void {
  session.send({ case: 'appendAnswer', value: { attemptId: 'a', fence: 1, number, ...said } });
}

describe('jobs', () => {
  test('are appended to the run of the attempt, as messages or as what makes them', async () => {
    const { session, context } = await working({ capabilities });
    expect(session.hello.capabilities).toContain('append_jobs');
    const appended = context.append([pack, create(JobDefinitionSchema, push)]);
    const said = await session.next('appendJobs');
    expect(said).toMatchObject({ attemptId: 'a', fence: 1, jobs: [pack, push] });
    expect(said.number).toBeGreaterThan(0);
    answer(session, said.number);
    expect(await appended).toBeUndefined();
  });

  test('that cannot be appended are told with all that is wrong with them', async () => {
    const { session, context } = await working({ capabilities });
    const appended = context.append([push]);
    const { number } = await session.next('appendJobs');
    const violations = [{ field: 'jobs[0].needs[0]', description: 'there is no job "pack"' }];
    answer(session, number, { error: ErrorReason.INVALID_FIELD, message: 'jobs[0].needs[0]: no', violations });
    await expect(appended).rejects.toBeInstanceOf(AppendError);
    await expect(appended).rejects.toMatchObject({
      reason: 'INVALID_FIELD',
      message: 'jobs[0].needs[0]: no',
      violations,
    });
  });

  test('are appended one request at a time, in the order of the calls, as they were then', async () => {
    const { session, context } = await working({ capabilities });
    const first = context.append([push]);
    const later = { ...pack, spec: { n: 1 } };
    const second = context.append([later]);
    later.spec.n = 2;
    const { number } = await session.next('appendJobs');
    const read = context.values.get('gate');
    await expect(read).rejects.toMatchObject({ reason: 'UNSUPPORTED' });
    expect(session.arrived('appendJobs')).toEqual([]);
    answer(session, number, { error: ErrorReason.INVALID_FIELD });
    await expect(first).rejects.toMatchObject({ reason: 'INVALID_FIELD' });
    const next = await session.next('appendJobs');
    expect(next.jobs).toMatchObject([{ name: 'pack', spec: { n: 1 } }]);
    answer(session, next.number);
    await second;
  });

  test('that are no messages are refused here, by field and with what to write', async () => {
    const { session, context } = await working({ capabilities });
    const jobs: object[] = [
      { name: 'a', when: 'finally', timeouts: { runTimeout: '10m' }, stikyKey: 'x', needs: 'pack' },
      { name: 'b', selector: { required: [{ key: 'k', operator: 9 }] }, gate: 'yes' },
    ];
    const choices = 'RunCondition.SUCCESS or RunCondition.ALWAYS or RunCondition.FAILURE or RunCondition.FINALLY';
    const refused: unknown = await context.append(jobs as JobInit[]).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(RangeError);
    expect(String(refused).replace('RangeError: ', '').split('\n')).toEqual([
      `jobs[0].when must be ${choices}; got 'finally'`,
      "jobs[0].timeouts.runTimeout must be a Duration, as durationFromMs(60_000) of @bufbuild/protobuf/wkt; got '10m'",
      expect.stringMatching(/^jobs\[0\].stikyKey is no field; these are: name, driver, .*stickyKey/),
      "jobs[0].needs must be a list; got 'pack'",
      expect.stringMatching(/^jobs\[1\].selector.required\[0\].operator must be LabelOperator.EQUALS or .*; got 9$/),
      "jobs[1].gate must be an object; got 'yes'",
    ]);
    for (const wrong of [
      { ...pack, priority: 2 ** 40 },
      { ...pack, driver: 7 },
    ]) {
      await expect(context.append([wrong as unknown as JobInit])).rejects.toThrow(RangeError);
    }
    expect(session.arrived('appendJobs')).toEqual([]);
  });

  test('of more than one message holds are refused here', async () => {
    const { session, context } = await working({ capabilities });
    const spec = { script: 'x'.repeat(60_000) };
    const many = Array.from({ length: 18 }, (_, n) => ({ ...pack, name: `job-${n}`, spec }));
    await expect(context.append(many)).rejects.toThrow(RangeError);
    const fits = context.append(many.slice(1));
    const { number, jobs } = await session.next('appendJobs');
    expect(jobs).toHaveLength(17);
    answer(session, number);
    await fits;
  });
});

describe('what was asked', () => {
  test('is asked again, unchanged, in the next session, until it is answered', async () => {
    const { server, session, context } = await working({ capabilities });
    const appended = context.append([pack, push]);
    const said = await session.next('appendJobs');
    session.fail(status.UNAVAILABLE, 'gone');
    const next = await server.session();
    expect(next.hello.held).toMatchObject([{ attemptId: 'a', phase: HeldPhase.RUNNING }]);
    next.welcome({ capabilities, ...kept });
    expect(await next.next('appendJobs')).toEqual(said);
    answer(next, said.number);
    await appended;
  });

  test("is given up when the attempt is no longer this driver's", async () => {
    const { session, context } = await working({ capabilities });
    const appended = context.append([pack]);
    await session.next('appendJobs');
    session.send({ case: 'revoke', value: { attemptId: 'a', fence: 1, reason: 'lost' } });
    await expect(appended).rejects.toBeInstanceOf(JobStopped);
    await expect(context.append([pack])).rejects.toBeInstanceOf(JobStopped);
  });

  test('is refused for a cancel: by JobStopped when the work is to stop, too', async () => {
    const { session, context } = await working({ capabilities });
    const goesOn = context.append([pack]);
    answer(session, (await session.next('appendJobs')).number, { error: ErrorReason.CANCEL_REQUESTED });
    await expect(goesOn).rejects.toMatchObject({ name: 'AppendError', reason: 'CANCEL_REQUESTED' });
    const stops = context.append([pack]);
    const { number } = await session.next('appendJobs');
    session.send({ case: 'cancel', value: { attemptId: 'a', fence: 1, phase: CancelPhase.SOFT, reason: 'by ann' } });
    answer(session, number, { error: ErrorReason.CANCEL_REQUESTED });
    await expect(stops).rejects.toMatchObject({ name: 'JobStopped', why: 'cancelled' });
  });

  test('is refused by a control plane that does not take it, and given up when the next session is with one', async () => {
    const old = await working({ capabilities: ['values'] });
    await expect(old.context.append([pack])).rejects.toMatchObject({ reason: 'UNSUPPORTED' });
    const { server, session, context } = await working({ capabilities });
    const appended = context.append([pack]);
    await session.next('appendJobs');
    session.fail(status.UNAVAILABLE, 'gone');
    (await server.session()).welcome({ capabilities: ['values'], ...kept });
    await expect(appended).rejects.toMatchObject({ reason: 'UNSUPPORTED' });
  });
});

test('what nobody waits for goes out before the result', async () => {
  const server = await startServer();
  startDriver([server], { run: async ({ append }) => void append([pack]) });
  const session = await server.session();
  session.welcome({ capabilities });
  await session.startJob('a');
  await session.next('finish');
  const order = session.messages.flat();
  expect(order).toContain('appendJobs');
  expect(order.indexOf('appendJobs')).toBeLessThan(order.indexOf('finish'));
});
