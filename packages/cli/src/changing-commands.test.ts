import { JobState } from '@conveyor/client';
import { RerunScope } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { describe, expect, it } from 'vitest';
import { run } from './testing/run-command.ts';
import { newRunId, runId, startScriptedPlane } from './testing/scripted-plane.ts';

describe('commands that change something', () => {
  it.each([
    [['cancel', runId, '--force', '--reason', 'why'], { cancel: runId, reason: 'why', force: true }],
    [['cancel', `${runId}/build`], { cancel: 'id-of-build', reason: '' }],
    [['pause', runId, '--reason', 'why'], { pause: runId, reason: 'why', actor: 'ada' }],
    [['resume', runId], { resume: runId, reason: '', actor: 'ada' }],
    [['hold', `${runId}/build`, '--reason', 'why'], { hold: 'id-of-build', reason: 'why', actor: 'ada' }],
    [['release', `${runId}/build`], { release: 'id-of-build', reason: '', actor: 'ada' }],
    [['retry', `${runId}/build`], { retry: 'id-of-build', kind: 'manual' }],
    [['rerun', runId, '--failed'], { rerun: runId, scope: RerunScope.FAILED, fromJobs: [] }],
    [['rerun', runId], { rerun: runId, scope: RerunScope.ALL, fromJobs: [] }],
    [['rerun', runId, '--from', 'a', '--from', 'b'], { rerun: runId, scope: RerunScope.FROM, fromJobs: ['a', 'b'] }],
    [['delete', 'run', runId], { delete: runId }],
    [['delete', 'pipeline', 'ci'], { delete: 'ci' }],
    [['verify', runId, '--skip-logs'], { verify: runId, skipLogs: true }],
    [['drain', 'shell/host-1', '--undo'], { drain: 'shell', instance: 'host-1', undo: true, evicts: false }],
    [['drain', 'sh*', '--instance', 'h*', '--evict'], { drain: 'sh*', instance: 'h*', undo: false, evicts: true }],
    [
      ['queue', 'pause', 'shell', '--pipeline', 'ci', '--reason', 'why'],
      { pauseQueue: 'shell', pipeline: 'ci', reason: 'why', actor: 'ada' },
    ],
    [['queue', 'resume', 'shell'], { resumeQueue: 'shell', pipeline: '' }],
  ])('%j', async (args, change) => {
    await using plane = await startScriptedPlane();
    expect(await run(args, { ...plane.env, USER: 'ada' })).toMatchObject({ exitCode: 0 });
    expect(plane.changes).toEqual([change]);
  });

  it('rerun --follow tells what is inherited, as that has no events', async () => {
    const inherited = (count: number) =>
      Array.from({ length: count }, (_, index) => [`old-${index}`, { shown: { inheritedFrom: 'id' } }] as const);
    const noteOf = async (count: number) => {
      await using plane = await startScriptedPlane({ jobs: { test: {}, ...Object.fromEntries(inherited(count)) } });
      return (await run(['rerun', runId, '--failed', '--follow'], plane.env)).stderr;
    };
    expect(await noteOf(0)).toBe('');
    expect(await noteOf(2)).toBe('inherited, and not run again: old-0, old-1\n');
    expect(await noteOf(7)).toBe('inherited, and not run again: old-0, old-1, old-2, old-3, old-4 and 2 more\n');
  });

  it('delete run deletes what it can, tells what it cannot, and then exits 1', async () => {
    await using plane = await startScriptedPlane();
    expect(await run(['delete', 'run', 'nope', runId], plane.env)).toEqual({
      exitCode: 1,
      stdout: `run ${runId} is deleted\n`,
      stderr: 'error: there is no run nope\n',
    });
    expect(plane.changes).toEqual([{ delete: runId }]);
  });

  it('queue list tells how many wait and what is paused', async () => {
    await using plane = await startScriptedPlane();
    const { stdout } = await run(['queue', 'list'], plane.env);
    expect(stdout).toMatch(/^busy +100000 or more$/m);
    expect(stdout).toMatch(/^shell +7 +all for .* by ana: upgrade$/m);
    expect((await run(['queue', 'resume', 'none'], plane.env)).stdout).toBe('queue none was not paused\n');
  });

  it('drain --wait exits 1 when work is still held', async () => {
    await using plane = await startScriptedPlane();
    expect(await run(['drain', 'shell', '--wait', '1s'], plane.env)).toMatchObject({ exitCode: 1 });
  });

  it('drain --wait --evict exits 0 and says what it took', async () => {
    await using plane = await startScriptedPlane();
    const result = await run(['drain', 'shell', '--wait', '1s', '--evict'], plane.env);
    expect(result).toMatchObject({ exitCode: 0, stderr: '1 attempt was taken away\n' });
  });

  it.each([
    [['pause', runId], `run ${runId} is running, paused\n`],
    [['resume', runId], `run ${runId} is running\n`],
    [['hold', `${runId}/build`], `job ${runId}/build is running, held\n`],
    [['release', `${runId}/build`], `job ${runId}/build is queued\n`],
    [['retry', `${runId}/waiting`], `job ${runId}/waiting is queued\n`],
    [['retry', `${runId}/build`], `run ${newRunId} started\n`],
  ])('%j says how things stand', async (args, stdout) => {
    await using plane = await startScriptedPlane({ jobs: { build: {}, waiting: { state: JobState.WAITING } } });
    expect(await run(args, plane.env)).toMatchObject({ exitCode: 0, stdout });
  });

  it.each([
    [['pause', runId], { runId, pause: {} }],
    [['resume', runId], { runId }],
    [['hold', `${runId}/build`], { state: 'JOB_STATE_RUNNING', hold: {} }],
    [['release', `${runId}/build`], { state: 'JOB_STATE_QUEUED' }],
    [['retry', `${runId}/build`], { runId: newRunId }],
  ])('%j -o json gives the message of the contract', async (args, message) => {
    await using plane = await startScriptedPlane();
    const { stdout } = await run([...args, '-o', 'json'], plane.env);
    expect(JSON.parse(stdout)).toMatchObject(message);
  });
});
