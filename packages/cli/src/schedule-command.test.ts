import { readFileSync } from 'node:fs';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { ScheduleOccurrenceState, ScheduleOverlapPolicy } from '@conveyor/client';
import { refusal, startScriptedServer } from '@conveyor/client/testing';
import { ErrorReason } from '@conveyor/protocol/conveyor/v1/error_pb.js';
import {
  ScheduleOccurrenceOrigin,
  type ScheduleOccurrenceSchema,
  ScheduleSkipReason,
} from '@conveyor/protocol/conveyor/v1/schedule_pb.js';
import { ScheduleService } from '@conveyor/protocol/conveyor/v1/schedule_service_pb.js';
import { describe, expect, it } from 'vitest';
import { readSchedule } from './schedule-file.ts';
import { run } from './testing/run-command.ts';

const startMs = Date.UTC(2026, 0, 2, 3, 4, 5);
const yaml = `name: nightly
run:
  pipeline: ci
  labels: { kind: nightly }
cron: ['0 3 * * *']
timeZone: Europe/Berlin
overlapPolicy: cancel_running
startTime: 2026-01-01
catchUpWindow: 2h
`;

/** A control plane of one schedule, `nightly`, and what it was asked. */
async function startScheduler(
  triggered: MessageInitShape<typeof ScheduleOccurrenceSchema> = { state: 3, runId: 'run-1' },
) {
  const asked: unknown[] = [];
  const schedule = (name: string, paused = false) => {
    if (name !== 'nightly') throw refusal('not_found', 'SCHEDULE_NOT_FOUND', `there is no schedule ${name}`);
    return {
      name,
      paused,
      pauseReason: paused ? 'frozen' : '',
      spec: {
        run: { source: { case: 'pipeline' as const, value: { name: 'ci', revision: 2 } } },
        cron: ['0 3 * * *'],
        timeZone: 'UTC',
        overlapPolicy: ScheduleOverlapPolicy.SKIP,
      },
      ...(paused ? {} : { nextTime: timestampFromMs(startMs) }),
    };
  };
  const server = await startScriptedServer((router) => {
    router.service(ScheduleService, {
      applySchedule({ name, spec, paused, validateOnly }) {
        asked.push({ [validateOnly ? 'validate' : 'apply']: name, spec, paused });
        const fields = [{ field: 'spec.cron[0]', description: 'never matches' }];
        if (spec?.cron[0] === '0 0 30 2 *')
          throw refusal('invalid_argument', 'INVALID_FIELD', 'it is wrong', { fields });
        return { schedule: schedule(name), changed: true, warnings: ['driver shell has never connected'] };
      },
      getSchedule: ({ name }) => ({ schedule: schedule(name) }),
      listSchedules: () => ({ schedules: [schedule('nightly'), schedule('nightly', true)] }),
      deleteSchedule({ name }) {
        asked.push({ delete: name });
        return {};
      },
      pauseSchedule({ name, reason }) {
        asked.push({ pause: name, reason });
        return { schedule: schedule(name, true) };
      },
      resumeSchedule: ({ name }) => ({ schedule: schedule(name) }),
      triggerSchedule: () => ({ occurrence: triggered }),
      backfillSchedule({ startTime, endTime, maxParallel }) {
        asked.push({ from: startTime?.seconds, until: endTime?.seconds, maxParallel });
        return { queued: 1 };
      },
      listOccurrences: ({ upcomingCount = 0 }) => ({
        upcomingTimes: Array.from({ length: upcomingCount }, (_, day) => timestampFromMs(startMs + day * 86_400_000)),
        occurrences: [
          { time: timestampFromMs(startMs), state: ScheduleOccurrenceState.STARTED, runId: 'run-1', origin: 1 },
          {
            time: timestampFromMs(startMs - 1_000),
            state: ScheduleOccurrenceState.SKIPPED,
            origin: ScheduleOccurrenceOrigin.BACKFILL,
            skipReason: ScheduleSkipReason.OVERLAP,
            message: 'a run was open',
          },
        ],
      }),
    });
  });
  return Object.assign(server, { asked, env: { CONVEYOR_ADDRESS: server.grpcAddress } });
}

describe('conveyor schedule', () => {
  it('apply stores a file, says when it comes, and warns of what could not be checked', async () => {
    await using plane = await startScheduler();
    expect(await run(['schedule', 'apply', '-f', '-'], plane.env, yaml)).toEqual({
      exitCode: 0,
      stdout: 'schedule nightly applied, next at 2026-01-02 03:04:05Z\n',
      stderr: 'warning: driver shell has never connected\n',
    });
    expect(plane.asked).toMatchObject([
      {
        apply: 'nightly',
        spec: {
          run: { source: { case: 'pipeline', value: { name: 'ci' } }, labels: { kind: 'nightly' } },
          timeZone: 'Europe/Berlin',
          startTime: { seconds: BigInt(Date.UTC(2026, 0, 1) / 1_000) },
          overlapPolicy: ScheduleOverlapPolicy.CANCEL_RUNNING,
          catchUpWindow: { seconds: 7_200n },
        },
        paused: undefined,
      },
    ]);
  });

  it('apply tells what the server finds beside what is wrong with the form of the file', async () => {
    await using plane = await startScheduler();
    const wrong = yaml.replace('0 3 * * *', '0 0 30 2 *').replace('overlapPolicy', 'overlapPolcy');
    const { exitCode, stderr } = await run(['schedule', 'apply', '-f', '-'], plane.env, wrong);
    expect(exitCode).toBe(2);
    expect(stderr.split('\n')).toEqual([
      'error: <stdin> is no schedule',
      '<stdin>:5:8: cron[0]: never matches',
      expect.stringMatching(/^<stdin>:7:1: overlapPolcy: is no field here; did you mean overlapPolicy\?/),
      '',
    ]);
    expect(plane.asked).toMatchObject([
      { validate: 'nightly', spec: { overlapPolicy: ScheduleOverlapPolicy.CANCEL_RUNNING } },
    ]);
  });

  it('apply tells what is wrong by line and column, whoever found it', async () => {
    await using plane = await startScheduler();
    const wrong = yaml.replace('0 3 * * *', '0 0 30 2 *');
    expect(await run(['schedule', 'apply', '-f', '-'], plane.env, wrong)).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('<stdin>:5:8: cron[0]: never matches'),
    });
    const bad = yaml
      .replace('cancel_running', 'wait')
      .replace('2026-01-01', '2026-01-01T00:00:00')
      .replace('  pipeline: ci', '  pipeline: ci\n  definition: { jobs: [] }')
      .concat('paused: soon\nevery: 5m\n');
    const { exitCode, stderr } = await run(['schedule', 'apply', '-f', '-'], plane.env, bad);
    expect(exitCode).toBe(2);
    for (const problem of [
      '<stdin>:4:3: run.definition: cannot be given beside pipeline or definition',
      '<stdin>:8:1: overlapPolicy: must be allow or skip or queue_one or cancel_running',
      '<stdin>:9:1: startTime: must be a time such as 2026-01-31',
      '<stdin>:11:1: paused: must be true or false',
      '<stdin>:12:1: every: is no field here; these are: name, paused, run, cron',
    ]) {
      expect(stderr).toContain(problem);
    }
    expect(plane.asked).toMatchObject([{ apply: 'nightly' }, { validate: 'nightly' }]);
  });

  it('apply wants a name and passes paused on', async () => {
    await using plane = await startScheduler();
    const nameless = await run(['schedule', 'apply', '-f', '-'], plane.env, yaml.replace('name: nightly\n', ''));
    expect(nameless).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('has no name') });
    await run(['schedule', 'apply', '-f', '-'], plane.env, `${yaml}paused: true\n`);
    expect(plane.asked).toMatchObject([{ paused: true }]);
  });

  it('list, get and occurrences show what there is', async () => {
    await using plane = await startScheduler();
    expect((await run(['schedule', 'list'], plane.env)).stdout).toBe(
      [
        'SCHEDULE  RUNS  CRON       TIME ZONE  NEXT',
        'nightly   ci@2  0 3 * * *  UTC        2026-01-02 03:04:05Z',
        'nightly   ci@2  0 3 * * *  UTC        paused',
        '',
      ].join('\n'),
    );
    const shown = (await run(['schedule', 'get', 'nightly'], plane.env)).stdout;
    expect(shown).toMatch(/^Overlap: +skip$/m);
    expect(shown).toMatch(/^2026-01-02 03:04:04Z +skipped +backfill +- +overlap: a run was open$/m);
    const { stdout } = await run(['schedule', 'occurrences', 'nightly', '--limit', '1', '-o', 'json'], plane.env);
    expect(JSON.parse(stdout)).toMatchObject([{ runId: 'run-1', state: 'SCHEDULE_OCCURRENCE_STATE_STARTED' }]);
  });

  it('next tells the times to come', async () => {
    await using plane = await startScheduler();
    const { stdout } = await run(['schedule', 'next', 'nightly', '-n', '2'], plane.env);
    expect(stdout).toBe('2026-01-02 03:04:05Z\n2026-01-03 03:04:05Z\n');
    expect(await run(['schedule', 'next', 'nightly', '-n', '0'], plane.env)).toMatchObject({ exitCode: 2 });
  });

  it('pauses, resumes, backfills and deletes', async () => {
    await using plane = await startScheduler();
    expect(await run(['schedule', 'pause', 'nightly', '--reason', 'frozen'], plane.env)).toMatchObject({ exitCode: 0 });
    expect((await run(['schedule', 'resume', 'nightly'], plane.env)).stdout).toContain('next at 2026-01-02');
    const range = ['--from', '2026-01-01', '--until', '2026-01-02T00:00:00+01:00', '--parallel', '4'];
    expect((await run(['schedule', 'backfill', 'nightly', ...range], plane.env)).stdout).toBe(
      '1 occurrence of schedule nightly queued\n',
    );
    expect((await run(['schedule', 'delete', 'nightly'], plane.env)).stdout).toBe('schedule nightly deleted\n');
    expect(plane.asked).toEqual([
      { pause: 'nightly', reason: 'frozen' },
      { from: 1_767_225_600n, until: 1_767_308_400n, maxParallel: 4 },
      { delete: 'nightly' },
    ]);
    const local = ['--from', '2026-01-01T00:00:00', '--until', '2026-01-02'];
    expect(await run(['schedule', 'backfill', 'nightly', ...local], plane.env)).toMatchObject({ exitCode: 2 });
  });

  it('trigger tells of the run, or why there is none', async () => {
    await using plane = await startScheduler();
    expect(await run(['schedule', 'trigger', 'nightly'], plane.env)).toEqual({
      exitCode: 0,
      stdout: 'run run-1 started\n',
      stderr: 'next: conveyor watch run-1\n',
    });
    const failure = { failureReason: ErrorReason.PIPELINE_NOT_FOUND, message: 'pipeline ci does not exist' };
    await using broken = await startScheduler({ state: ScheduleOccurrenceState.FAILED, ...failure });
    expect(await run(['schedule', 'trigger', 'nightly'], broken.env)).toMatchObject({
      exitCode: 1,
      stdout: 'failed: pipeline ci does not exist\n',
    });
  });

  it('says how to find a schedule that is not there', async () => {
    await using plane = await startScheduler();
    expect(await run(['schedule', 'get', 'hourly'], plane.env)).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('next: list schedules with `conveyor schedule list`'),
    });
  });
});

it('docs/schedules.md shows a schedule that is one', () => {
  const page = readFileSync(new URL('../../../docs/schedules.md', import.meta.url), 'utf8');
  const [, shown = ''] = /```yaml\n(.*?)```/s.exec(page) ?? [];
  expect(readSchedule(shown, 'nightly.yaml')).toMatchObject({
    name: 'nightly',
    spec: { run: { source: { value: { name: 'ci', revision: 0 } } }, cron: ['0 3 * * *'] },
    problems: [],
  });
});
