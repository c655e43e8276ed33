// The tutorial's drivers, each by itself, on real directories, repositories and processes.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JsonObject, NeededJob } from '@conveyor/driver';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { RecordedJob } from '../shell/testing/recorded-job.ts';
import { openBuild } from './build.ts';
import { builder, type BuilderSpec } from './builder.ts';
import { containerStart } from './container-start.ts';
import { containerStop } from './container-stop.ts';
import { gitCloner } from './git-cloner.ts';

let root: string;
let container: string;
let needs: Record<string, NeededJob>;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'conveyor-tutorial-test-'));
  process.env['TUTORIAL_ROOT'] = join(root, 'containers');
  container = join(root, 'containers', 'run-1');
  await mkdir(container, { recursive: true });
  needs = { 'container-start': { state: 'SUCCEEDED', outputs: { workspace: container } } };
  onTestFinished(async () => {
    delete process.env['TUTORIAL_ROOT'];
    // A build outlives the driver of a test that failed.
    for (const name of await readdir(container).catch(() => [])) {
      if (name.startsWith('build-')) await openBuild(container, name.slice('build-'.length), '').kill('SIGKILL');
    }
    await rm(root, { recursive: true });
  });
});

test('container-start makes the container of a run, the same at a second try', async () => {
  const jobs = [1, 2].map(() => new RecordedJob<JsonObject>({ spec: {}, runId: 'run-2' }));
  for (const job of jobs) await containerStart.run(job);
  const workspace = join(root, 'containers', 'run-2');
  expect(jobs.map(({ outputs }) => outputs)).toEqual([{ workspace }, { workspace }]);
  expect(existsSync(workspace)).toBe(true);
});

describe('git-cloner', () => {
  function git(...args: string[]): string {
    const identity = ['-c', 'user.name=a', '-c', 'user.email=a@example.org'];
    return execFileSync('git', [...identity, ...args], { cwd: join(root, 'repository'), encoding: 'utf8' }).trim();
  }

  beforeEach(async () => {
    await mkdir(join(root, 'repository'));
    git('init', '--quiet');
    git('commit', '--quiet', '--allow-empty', '--message', 'first');
    await writeFile(join(root, 'repository', 'file'), 'second');
    git('add', 'file');
    git('commit', '--quiet', '--message', 'second');
  });

  test('clones the ref that the run asks for, over what an earlier try left', async () => {
    await mkdir(join(container, 'source.unfinished'));
    await mkdir(join(container, 'source', 'stale'), { recursive: true });
    const job = new RecordedJob<JsonObject>({ spec: {}, params: { repository: join(root, 'repository') }, needs });
    await gitCloner.run(job);
    expect(job.outputs).toEqual({ commit: git('rev-parse', 'HEAD'), directory: join(container, 'source') });
    expect(await readFile(join(container, 'source', 'file'), 'utf8')).toBe('second');
    expect(await readdir(container)).toEqual(['source']);
    expect(existsSync(join(container, 'source', 'stale'))).toBe(false);

    const first = git('rev-parse', 'HEAD~1');
    const params = { repository: join(root, 'repository'), ref: first };
    const again = new RecordedJob<JsonObject>({ spec: {}, params, needs });
    await gitCloner.run(again);
    expect(again.outputs['commit']).toBe(first);
  });

  test('fails as the workload when git does', async () => {
    const job = new RecordedJob<JsonObject>({ spec: {}, params: { repository: join(root, 'nowhere') }, needs });
    await expect(gitCloner.run(job)).rejects.toMatchObject({ class: 'WORKLOAD', message: 'git clone: exit code 128' });
    expect(job.stderr).toContain('nowhere');
  });

  test('is invalid without a container or a repository', async () => {
    const params = { repository: join(root, 'repository') };
    for (const init of [{ needs }, { params }]) {
      const job = new RecordedJob<JsonObject>({ spec: {}, ...init });
      await expect(gitCloner.run(job)).rejects.toMatchObject({ class: 'INVALID' });
    }
  });
});

describe('builder', () => {
  /** Counts its starts in `starts`, and ends once there is a file `go`. */
  const steered = 'echo x >>starts; echo begun; while ! test -e go; do sleep 0.01; done; echo done';

  function jobOf(command: string, logOffset = 0): RecordedJob<BuilderSpec> {
    return new RecordedJob({ spec: { command }, needs, logOffset });
  }

  async function starts(): Promise<number> {
    return (await readFile(join(container, 'starts'), 'utf8')).length / 2;
  }

  test('runs its command in the container, with its output in the log', async () => {
    const job = jobOf('pwd; echo oops >&2');
    await builder.run(job);
    expect(job.stdout).toBe(`${container}\noops\n`);
    expect(job.checkpoints).toEqual([container]);
    expect(await readdir(container)).toEqual([]);
  });

  test('fails with the exit code, and builds anew at the next try', async () => {
    for (let attempt = 1; attempt <= 2; attempt++) {
      await expect(builder.run(jobOf('echo x >>starts; exit 3'))).rejects.toMatchObject({ exitCode: 3 });
    }
    expect(await starts()).toBe(2);
  });

  test('goes on with the build of a driver that lost the job, from its first byte, and never runs it twice', async () => {
    const lost = jobOf(steered);
    const ended = builder.run(lost);
    await expect.poll(() => lost.stdout).toBe('begun\n');
    lost.revoke();
    await expect(ended).rejects.toThrow();
    const next = jobOf(steered);
    const success = builder.run(next);
    await expect.poll(() => next.stdout).toBe('begun\n');
    await writeFile(join(container, 'go'), '');
    await success;
    expect(next.stdout).toBe('begun\ndone\n');
    expect(await starts()).toBe(1);
  });

  test('adopts the build of an earlier process where its log ends', async () => {
    const lost = jobOf(steered);
    const ended = builder.run(lost);
    await expect.poll(() => lost.stdout).toBe('begun\n');
    lost.revoke();
    await expect(ended).rejects.toThrow();
    await writeFile(join(container, 'go'), '');
    const adopted = jobOf(steered, 'begun\n'.length);
    await builder.adopt?.(adopted, Buffer.from(lost.checkpoints[0] ?? ''));
    expect(adopted.stdout).toBe('done\n');
    expect(await starts()).toBe(1);
  });

  test('starts again what was killed, without what that had written', async () => {
    const lost = jobOf(steered);
    const ended = builder.run(lost);
    await expect.poll(() => lost.stdout).toBe('begun\n');
    const [build = ''] = (await readdir(container)).filter((name) => name.startsWith('build-'));
    process.kill(-Number(await readFile(join(container, build, 'pid'), 'utf8')), 'SIGKILL');
    await expect(ended).rejects.toMatchObject({ class: 'DRIVER', message: 'the build was killed' });
    await appendFile(join(container, 'go'), '');
    const next = jobOf(steered);
    await builder.run(next);
    expect(next.stdout).toBe('begun\ndone\n');
    expect(await starts()).toBe(2);
  });

  test('lets a build that is cancelled clean up', async () => {
    const job = jobOf('trap "echo cleaned; exit 1" TERM; echo begun; while :; do sleep 0.01; done');
    const ended = builder.run(job);
    await expect.poll(() => job.stdout).toBe('begun\n');
    job.cancel();
    await expect(ended).rejects.toMatchObject({ why: 'cancelled' });
    expect(job.stdout).toMatch(/^begun\n(.*\n)?cleaned\n$/);
    expect(await readdir(container)).toEqual([]);
  });

  test('stops the build of an earlier process that was cancelled meanwhile', async () => {
    const lost = jobOf('trap "echo cleaned; exit 1" TERM; echo begun; while :; do sleep 0.01; done');
    const ended = builder.run(lost);
    await expect.poll(() => lost.stdout).toBe('begun\n');
    lost.revoke();
    await expect(ended).rejects.toThrow();
    const adopted = jobOf('', 'begun\n'.length);
    adopted.cancel();
    await expect(builder.adopt?.(adopted, Buffer.from(container))).rejects.toMatchObject({ why: 'cancelled' });
    expect(adopted.stdout).toMatch(/cleaned\n$/);
    expect(await readdir(container)).toEqual([]);
  });

  test('kills a build that does not stop', async () => {
    const job = jobOf('trap "echo no" TERM; echo begun; while :; do sleep 0.01; done');
    const ended = builder.run(job);
    await expect.poll(() => job.stdout).toBe('begun\n');
    job.cancel();
    await expect.poll(() => job.stdout).toMatch(/no\n/);
    job.kill();
    await expect(ended).rejects.toMatchObject({ why: 'cancelled' });
    expect(await readdir(container)).toEqual([]);
  });
});

describe('container-stop', () => {
  test('removes the container, whatever became of the jobs before it', async () => {
    const builderFailed = { ...needs, builder: { state: 'FAILED' as const, outputs: {} } };
    const job = new RecordedJob<JsonObject>({ spec: {}, needs: builderFailed });
    await containerStop.run(job);
    expect(job.stdout).toContain('builder: FAILED\n');
    expect(existsSync(container)).toBe(false);
  });

  test('has nothing to do when no container was started', async () => {
    const failed = { 'container-start': { state: 'FAILED' as const, outputs: {} } };
    const job = new RecordedJob<JsonObject>({ spec: {}, needs: failed });
    await containerStop.run(job);
    expect(job.stdout).toContain('no container was started\n');
  });
});
