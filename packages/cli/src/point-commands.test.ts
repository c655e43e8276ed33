import { type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { AttemptState, FailureClass, JobState, RunState, StopCause, StopPhase, WaitReason } from '@conveyor/client';
import { type ScriptedServer, refusal, startScriptedServer } from '@conveyor/client/testing';
import { JobService } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import { type JobChangeSchema, RunService } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { describe, expect, it } from 'vitest';
import { type CommandResult, run } from './testing/run-command.ts';
import { runId, started } from './testing/scripted-plane.ts';

const startMs = Date.UTC(2026, 0, 2, 3, 4, 5);
const startTime = timestampFromMs(startMs);
const running = { state: JobState.RUNNING, attempt: 1 };

interface Plane extends ScriptedServer {
  readonly asked: unknown[];
  run(...args: readonly string[]): Promise<CommandResult>;
}

/** A run of twelve events: in the seventh, 90 s after its start, an attempt of its one job starts. */
async function startPlane(changes: readonly MessageInitShape<typeof JobChangeSchema>[] = []): Promise<Plane> {
  const asked: unknown[] = [];
  const server = await startScriptedServer((router) => {
    router.service(RunService, {
      getRun({ atSeq }) {
        asked.push({ run: atSeq });
        const fields = [{ field: 'at_seq', description: 'must be from 1 to 12; got 13' }];
        if (atSeq > 12n) throw refusal('invalid_argument', 'INVALID_FIELD', 'at_seq: must be from 1 to 12', { fields });
        return { run: { runId, state: RunState.RUNNING, seq: atSeq || 12n, startTime } };
      },
      diffRun({ fromSeq, toSeq, pageToken }) {
        asked.push({ from: fromSeq, to: toSeq });
        const jobCounts = { total: 4, open: 4 };
        return {
          before: { runId, state: RunState.PENDING, seq: fromSeq, jobCounts },
          after: { runId, state: RunState.RUNNING, seq: toSeq || 12n, jobCounts: { ...jobCounts, open: 3, failed: 1 } },
          eventCount: (toSeq || 12n) - fromSeq,
          changedJobCount: changes.length,
          jobs: pageToken === '' ? changes.slice(0, 1) : changes.slice(1),
          nextPageToken: pageToken === '' && changes.length > 1 ? '2' : '',
        };
      },
      async *watchRun({ afterSeq }) {
        asked.push({ after: afterSeq });
        yield { events: [{ ...started('build'), seq: afterSeq + 1n, time: timestampFromMs(startMs + 90_000) }] };
      },
    });
    router.service(JobService, {
      listJobs({ atSeq }) {
        asked.push({ jobs: atSeq });
        return { jobs: [{ jobId: 'id', name: 'build', driver: 'shell', ...running, startTime }] };
      },
      getJob({ atSeq }) {
        asked.push({ job: atSeq });
        return { job: { jobId: 'id', runId, name: 'build', driver: 'shell', ...running, startTime } };
      },
      listAttempts({ atSeq }) {
        asked.push({ attempts: atSeq });
        return { attempts: [{ number: 1, state: AttemptState.RUNNING, driverInstance: 'host-1', startTime }] };
      },
    });
  });
  const env = { CONVEYOR_ADDRESS: server.grpcAddress };
  return Object.assign(server, { asked, run: (...args: readonly string[]) => run(args, env) });
}

describe('--at', () => {
  it('shows a run as it was, which event that was, and how long things had taken then', async () => {
    await using plane = await startPlane();
    const { exitCode, stdout } = await plane.run('describe', 'run', runId, '--at', '7');
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^As of: +event 7 of 2026-01-02 03:05:35Z: build attempt 1 started$/m);
    expect(stdout).toMatch(/^Events: +7$/m);
    expect(stdout).toMatch(/^Took: +1m30s$/m);
    expect(stdout).toMatch(/^build +running +shell +1 +1m30s$/m);
    expect(plane.asked).toEqual([{ run: 7n }, { jobs: 7n }, { after: 6n }]);
  });

  it.each([
    [['describe', 'job', `${runId}/build`], 'As of:    event 7 of', [{ jobs: 0n }, { job: 7n }, { attempts: 7n }]],
    [['get', 'jobs', runId], 'build  running  shell   1        1m30s', [{ jobs: 7n }]],
    [['get', 'attempts', `${runId}/build`], '1        running  host-1    1m30s', [{ jobs: 0n }, { attempts: 7n }]],
  ])('of %j reads all of it at that point', async (args, part, asked) => {
    await using plane = await startPlane();
    const { exitCode, stdout } = await plane.run(...args, '--at', '7');
    expect(exitCode).toBe(0);
    expect(stdout).toContain(part);
    expect(plane.asked).toEqual([...asked, { after: 6n }]);
    plane.asked.length = 0;
    const json = await plane.run(...args, '--at', '7', '-o', 'json');
    expect(JSON.parse(json.stdout)).toBeTruthy();
    expect(plane.asked).not.toContainEqual({ after: 6n });
  });

  it('is as it is now when it is left out', async () => {
    await using plane = await startPlane();
    const { stdout } = await plane.run('describe', 'run', runId);
    expect(stdout).not.toContain('As of');
    expect(stdout).toMatch(/^Events: +12$/m);
    expect(plane.asked).toEqual([{ run: 0n }, { jobs: 0n }]);
  });

  it.each(['0', '-1', '1.5', 'x', '', '12345678901234567'])('%j is no event', async (text) => {
    await using plane = await startPlane();
    for (const args of [
      ['describe', 'run', runId, `--at=${text}`],
      ['get', 'jobs', runId, `--at=${text}`],
      ['diff', 'run', runId, '--', text],
      ['diff', 'run', runId, '--', '1', text],
    ]) {
      const { exitCode, stderr } = await plane.run(...args);
      expect(exitCode).toBe(2);
      expect(stderr).toBe(
        `error: '${text}' is no number of an event\nnext: write the number before an event in \`conveyor watch RUN\`\n`,
      );
    }
    expect(plane.asked).toEqual([]);
  });

  it('says what the server refuses', async () => {
    await using plane = await startPlane();
    const { exitCode, stderr } = await plane.run('describe', 'run', runId, '--at', '13');
    expect(exitCode).toBe(2);
    expect(stderr).toContain('at_seq: must be from 1 to 12; got 13');
  });
});

describe('conveyor diff run', () => {
  const time = startTime;
  const changes: MessageInitShape<typeof JobChangeSchema>[] = [
    {
      jobId: '0',
      job: 'build',
      before: { state: JobState.QUEUED },
      after: {
        state: JobState.FAILED,
        attempt: 2,
        failure: { class: FailureClass.WORKLOAD, message: 'it\u001B broke', exitCode: 7 },
      },
    },
    {
      jobId: '1',
      job: 'deploy',
      before: { state: JobState.WAITING, wait: { reason: WaitReason.BACKOFF, untilTime: time }, attempt: 1 },
      after: {
        state: JobState.WAITING,
        attempt: 1,
        wait: { reason: WaitReason.HELD },
        hold: { reason: 'Friday', actor: 'ada', time },
      },
    },
    {
      jobId: '2',
      job: 'late',
      after: {
        state: JobState.CANCELLING,
        attempt: 1,
        stop: { cause: StopCause.CANCEL, phase: StopPhase.SOFT, reason: 'enough', time },
      },
    },
    {
      jobId: '3',
      job: 'pack',
      before: { state: JobState.RUNNING, attempt: 1 },
      after: { state: JobState.RUNNING, attempt: 1 },
      changedFields: ['artifacts', 'gate_answers'],
    },
  ];

  it('shows the run and each job that changed, of all pages', async () => {
    await using plane = await startPlane(changes);
    expect(await plane.run('diff', 'run', runId, '3', '9')).toEqual({
      exitCode: 0,
      stdout: [
        `run ${runId} from event 3 to event 9: 6 events, 4 of 4 jobs changed`,
        'JOB        BEFORE                                      AFTER',
        '(the run)  pending: 4 open                             running: 3 open, 1 failed',
        'build      queued                                      failed, attempt 2, WORKLOAD: it  broke (exit code 7)',
        'deploy     waiting, attempt 1, backoff until 03:04:05  waiting, attempt 1, held by ada: Friday',
        'late       -                                           cancelling, attempt 1, asked to stop by a cancel: enough',
        'pack       running, attempt 1                          running, attempt 1, changed: artifacts, gate answers',
        '',
      ].join('\n'),
      stderr: '',
    });
    expect(plane.asked).toEqual([
      { from: 3n, to: 9n },
      { from: 3n, to: 9n },
    ]);
  });

  it('goes to the newest event when it is told no other', async () => {
    await using plane = await startPlane();
    expect((await plane.run('diff', 'run', runId, '11')).stdout).toContain(
      'from event 11 to event 12: 1 event, 0 of 4 jobs changed\n',
    );
    expect(plane.asked).toEqual([{ from: 11n, to: 0n }]);
  });

  it('-o json gives the message of the contract with the jobs of all pages', async () => {
    await using plane = await startPlane(changes);
    const { stdout } = await plane.run('diff', 'run', runId, '3', '9', '-o', 'json');
    expect(JSON.parse(stdout)).toMatchObject({
      before: { seq: '3', state: 'RUN_STATE_PENDING' },
      after: { seq: '9' },
      eventCount: '6',
      changedJobCount: 4,
      jobs: [
        { job: 'build', after: { state: 'JOB_STATE_FAILED' } },
        { job: 'deploy' },
        { job: 'late' },
        { job: 'pack' },
      ],
      nextPageToken: '',
    });
  });

  it('is coloured when that is asked for', async () => {
    await using plane = await startPlane(changes);
    const coloured = await run(['diff', 'run', runId, '3'], { CONVEYOR_ADDRESS: plane.grpcAddress, FORCE_COLOR: '1' });
    expect(coloured.stdout).toContain('\u001B[31mfailed');
    expect((await plane.run('diff', 'run', runId, '3')).stdout).not.toContain('\u001B');
  });

  it('wants to know from where', async () => {
    await using plane = await startPlane();
    expect(await plane.run('diff', 'run', runId)).toMatchObject({ exitCode: 2 });
  });
});
