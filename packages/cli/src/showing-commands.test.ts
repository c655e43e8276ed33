import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { JobState, RunState, StopCause, StopPhase, WaitReason } from '@conveyor/client';
import { describe, expect, it } from 'vitest';
import { run } from './testing/run-command.ts';
import { runId, startScriptedPlane } from './testing/scripted-plane.ts';

describe('commands that show something', () => {
  it.each([
    [['get', 'runs'], 'RUN ', 'ci@3'],
    [['get', 'jobs', runId], 'JOB ', 'build  succeeded  shell   1'],
    [['get', 'attempts', `${runId}/build`], 'ATTEMPT ', '1.5 KiB sealed'],
    [['get', 'artifacts', runId], 'JOB ', 'build  1        build.tgz  1.5 KiB  crc32c:00ff00ff  s3://builds/build.tgz'],
    [['get', 'artifacts', `${runId}/build`], 'JOB ', 'build.tgz'],
    [['get', 'pipelines'], 'PIPELINE ', 'ci        3 '],
    [['get', 'drivers'], 'DRIVER ', 'shell   host-1    ready  1/4'],
    [['describe', 'run', runId], 'Run: ', 'Labels:    branch=main'],
    [['describe', 'job', `${runId}/build`], 'Job: ', 'host-1'],
    [
      ['describe', 'job', `${runId}/build`],
      'Job: ',
      'Artifacts:\n  build.tgz 1.5 KiB crc32c:00ff00ff s3://builds/build.tgz\n  and 2 more\n',
    ],
    [['describe', 'pipeline', 'ci'], '# revision 3', 'name: ci\njobs:\n  - name: build'],
    [['version'], 'conveyor 0.1.0\n', 'server   9.8.7 at'],
  ])('%j', async (args, beginning, part) => {
    await using plane = await startScriptedPlane();
    const { exitCode, stdout, stderr } = await run(args, plane.env);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(stdout.startsWith(beginning)).toBe(true);
    expect(stdout).toContain(part);
    expect(stdout).not.toContain('\u001B');
  });

  const time = timestampFromMs(Date.UTC(2026, 0, 2, 3, 4, 5));
  it.each([
    [
      { state: JobState.WAITING, wait: { reason: WaitReason.BACKOFF, untilTime: time } },
      'Waits for:   backoff until 03:04:05',
      'waits: backoff',
    ],
    [
      { state: JobState.WAITING, wait: { reason: WaitReason.HELD }, hold: { reason: 'Friday', actor: 'ada', time } },
      'Held:        2026-01-02 03:04:05Z by ada: Friday',
      'waits: held',
    ],
    [
      { state: JobState.CANCELLING, stop: { cause: StopCause.CANCEL, phase: StopPhase.SOFT, reason: 'enough', time } },
      'Stopping:    2026-01-02 03:04:05Z asked to stop by a cancel: enough',
      'asked to stop by a cancel: enough',
    ],
    [
      { state: JobState.RUNNING, stop: { cause: StopCause.TIMEOUT, phase: StopPhase.KILL, reason: 'too long', time } },
      'Stopping:    2026-01-02 03:04:05Z being killed by a timeout: too long',
      'being killed by a timeout: too long',
    ],
  ])('tell what a job waits for, who holds it and how it is stopped: %#', async (shown, described, listed) => {
    await using plane = await startScriptedPlane({ jobs: { build: { state: shown.state, shown } } });
    const { stdout } = await run(['describe', 'job', `${runId}/build`], plane.env);
    expect(stdout.replaceAll(/^(\w[\w ]*:) +/gm, (_, name: string) => name.padEnd(13))).toContain(described);
    expect((await run(['get', 'jobs', runId], plane.env)).stdout).toContain(listed);
  });

  it('tell who paused a run, when and why', async () => {
    await using plane = await startScriptedPlane({
      state: RunState.RUNNING,
      pause: { reason: 'maintenance', actor: 'ada' },
    });
    const { stdout } = await run(['describe', 'run', runId], plane.env);
    expect(stdout).toMatch(/^State: +running, paused$/m);
    expect(stdout).toMatch(/^Paused: +2026-01-02 03:04:05Z by ada: maintenance$/m);
    expect((await run(['get', 'runs'], plane.env)).stdout).toContain('running, paused');
  });

  it('as JSON give the messages of the contract', async () => {
    await using plane = await startScriptedPlane();
    const json = async (...args: string[]): Promise<unknown> =>
      JSON.parse((await run([...args, '-o', 'json'], plane.env)).stdout);
    expect(await json('get', 'runs')).toMatchObject([{ runId, state: 'RUN_STATE_SUCCEEDED', rerunOf: '' }]);
    expect(await json('describe', 'job', `${runId}/build`)).toMatchObject({ jobId: 'id-of-build', attempt: 1 });
    expect(await json('version')).toMatchObject({ version: '0.1.0', server: { version: '9.8.7' } });
  });

  it('are coloured when that is asked for, and never with NO_COLOR', async () => {
    await using plane = await startScriptedPlane();
    const coloured = await run(['get', 'runs'], { ...plane.env, FORCE_COLOR: '1' });
    expect(coloured.stdout).toContain('\u001B[32msucceeded');
    const plain = await run(['get', 'runs'], { ...plane.env, FORCE_COLOR: '1', NO_COLOR: '1' });
    expect(plain.stdout).not.toContain('\u001B');
  });
});
