// The shell driver's jobs, run for real in temporary workspaces.
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import type { Readable } from 'node:stream';
import { join } from 'node:path';
import { JobFailure } from '@conveyor/driver';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { createShellDriver, type ShellSpec } from './shell-driver.ts';
import { RecordedJob } from './testing/recorded-job.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'conveyor-shell-test-'));
  onTestFinished(() => rm(root, { recursive: true }));
});

/** A job of the shell driver. */
class Job extends RecordedJob<ShellSpec> {
  constructor(spec: ShellSpec, attemptId = 'attempt-1', runId = 'run-1') {
    super({
      spec,
      attemptId,
      runId,
      params: { 'git-ref': 'main', depth: 3 },
      needs: { 'clone.1': { state: 'SUCCEEDED', outputs: { sha: 'abc', files: ['a'] } } },
      secrets: { npm_token: 'hush' },
    });
  }

  run(): Promise<void> {
    return createShellDriver({ root, slots: 1 }).run(this);
  }
}

/** Whether a process goes on; one that has ended may stay as a zombie where nobody reaps it. */
function isAlive(pid: number): boolean {
  try {
    if (process.platform === 'linux') return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('a script', () => {
  test('writes to the log on the channel that it wrote to, as it comes', async () => {
    const job = new Job({
      commands: ['echo first', 'echo second >&2', 'while ! test -e go; do sleep 0.01; done', 'echo third'],
    });
    const ended = job.run();
    await expect.poll(() => [job.stdout, job.stderr]).toEqual(['first\n', 'second\n']);
    await writeFile(join(root, 'attempts', 'attempt-1', 'workspace', 'go'), '');
    await ended;
    expect(job.stdout).toBe('first\nthird\n');
  });

  test('fails at its first command that fails, with the exit code', async () => {
    const job = new Job({ commands: ['echo before', 'exit 3', 'echo after'] });
    await expect(job.run()).rejects.toMatchObject({ class: 'WORKLOAD', exitCode: 3, message: 'exit code 3' });
    expect(job.stdout).toBe('before\n');
  });

  test('that a signal ends fails with the code that shells give it', async () => {
    const job = new Job({ commands: ['kill -SEGV $$'] });
    await expect(job.run()).rejects.toMatchObject({ class: 'WORKLOAD', exitCode: 139, message: 'ended by SIGSEGV' });
  });

  test('says outputs by a file, also when it fails', async () => {
    const job = new Job({
      commands: ['echo sha=abc >> "$CONVEYOR_OUTPUT"', 'echo "url=a=b c" >> "$CONVEYOR_OUTPUT"', 'false'],
    });
    await expect(job.run()).rejects.toThrow(JobFailure);
    expect(job.outputs).toEqual({ sha: 'abc', url: 'a=b c' });
  });

  test('fails when its outputs are not key=value', async () => {
    const job = new Job({ commands: ['echo oops > "$CONVEYOR_OUTPUT"'] });
    await expect(job.run()).rejects.toMatchObject({
      class: 'WORKLOAD',
      message: 'line 1 of $CONVEYOR_OUTPUT is not key=value',
    });
  });

  test('finds params, outputs of needs, secrets and its spec in its environment, and nothing of the driver', async () => {
    process.env['CONVEYOR_TOKEN'] = 'of the driver';
    onTestFinished(() => void delete process.env['CONVEYOR_TOKEN']);
    const job = new Job({
      commands: [
        'echo "$PARAM_GIT_REF $PARAM_DEPTH $NEEDS_CLONE_1_SHA $NEEDS_CLONE_1_FILES $SECRET_NPM_TOKEN $EXTRA"',
        'echo "[$CONVEYOR_TOKEN] $CONVEYOR_RUN_ID $CONVEYOR_JOB $CONVEYOR_ATTEMPT"',
        'cat "$CONVEYOR_NEEDS" "$CONVEYOR_PARAMS"',
      ],
      env: { EXTRA: 'e' },
    });
    await job.run();
    const [values, names, files] = job.stdout.split('\n');
    expect(values).toBe('main 3 abc ["a"] hush e');
    expect(names).toBe('[] run-1 build 1');
    expect(files).toBe(JSON.stringify(job.needs) + JSON.stringify(job.params));
  });

  test('may be one of any interpreter', async () => {
    const job = new Job({ commands: ["console.log('from', 'node')"], shell: [process.execPath] });
    await job.run();
    expect(job.stdout).toBe('from node\n');
  });
});

describe('a workspace', () => {
  test('of an attempt is empty at first and gone at the end', async () => {
    const job = new Job({ commands: ['pwd', 'ls -A', 'touch file'] });
    await job.run();
    expect(job.stdout).toBe(`${join(root, 'attempts', 'attempt-1', 'workspace')}\n`);
    expect(await readdir(join(root, 'attempts'))).toEqual([]);
  });

  test('of a run is shared by its jobs', async () => {
    await new Job({
      commands: ['mkdir "$CONVEYOR_RUN_WORKSPACE/src"', 'echo 42 > "$CONVEYOR_RUN_WORKSPACE/src/n"'],
    }).run();
    const second = new Job({ commands: ['cat n'], workspace: 'run', workingDirectory: 'src' }, 'attempt-2');
    await second.run();
    expect(second.stdout).toBe('42\n');
  });

  test('of a run that was not used for long is removed when another run begins', async () => {
    await new Job({ commands: ['true'] }, 'attempt-1', 'old').run();
    await new Job({ commands: ['true'] }, 'attempt-2', 'recent').run();
    const longAgo = new Date(Date.now() - 8 * 24 * 60 * 60 * 1000);
    await utimes(join(root, 'runs', 'old'), longAgo, longAgo);
    await new Job({ commands: ['true'] }, 'attempt-3', 'new').run();
    expect((await readdir(join(root, 'runs'))).sort()).toEqual(['new', 'recent']);
  });

  test('without the directory to start in is a failure that says so', async () => {
    const job = new Job({ commands: ['true'], workingDirectory: 'nowhere' });
    await expect(job.run()).rejects.toThrow('there is no directory nowhere in the workspace');
  });
});

/** Starts a background process that ignores SIGTERM beside a script that does, and gives the ids of both. */
const stubborn = ['trap "" TERM', 'sleep 1000 & echo "$$ $!"', 'wait'];

async function pidsOf(job: Job): Promise<number[]> {
  await expect.poll(() => job.stdout).toMatch(/\d+ \d+\n/);
  return job.stdout.trim().split(' ').map(Number);
}

/** A process that runs a script as a process group, and nothing else. */
function spawnGroup(script: readonly string[]): ChildProcessByStdio<null, Readable, null> {
  const program = `
    import { runProcessGroup } from ${JSON.stringify(join(import.meta.dirname, 'process-group.ts'))};
    const never = new AbortController().signal;
    await runProcessGroup({
      command: ['sh', '-c', ${JSON.stringify(script.join('\n'))}],
      cwd: '/',
      env: process.env,
      signal: never,
      killed: never,
      write: async (bytes) => { process.stdout.write(bytes); },
    });
  `;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
}

describe('a process group', () => {
  test('is asked to stop by a cancel, and may clean up', async () => {
    const job = new Job({ commands: ['trap "echo cleaned; exit 7" TERM', 'echo ready', 'sleep 1000 & wait'] });
    const ended = job.run();
    await expect.poll(() => job.stdout).toBe('ready\n');
    job.cancel();
    await expect(ended).rejects.toMatchObject({ exitCode: 7 });
    expect(job.stdout).toBe('ready\ncleaned\n');
  });

  test('that exits with 0 because of a cancel has not succeeded', async () => {
    const job = new Job({ commands: ['trap "exit 0" TERM', 'echo ready', 'sleep 1000 & wait'] });
    const ended = job.run();
    await expect.poll(() => job.stdout).toBe('ready\n');
    job.cancel();
    await expect(ended).rejects.toBe(job.signal.reason);
  });

  test('that does not stop is killed whole', async () => {
    const job = new Job({ commands: stubborn });
    const ended = job.run();
    const pids = await pidsOf(job);
    job.cancel();
    expect(pids.every(isAlive)).toBe(true);
    job.kill();
    await expect(ended).rejects.toMatchObject({ message: 'ended by SIGKILL', exitCode: 137 });
    await expect.poll(() => pids.some(isAlive)).toBe(false);
  });

  test('ends with its script, whatever that left in the background', async () => {
    const job = new Job({ commands: ['sleep 1000 & echo "$$ $!"'] });
    await job.run();
    const pids = await pidsOf(job);
    await expect.poll(() => pids.some(isAlive)).toBe(false);
  });

  test('does not wait for a process that left it and holds its output open', async () => {
    const leave = `require('child_process').spawn('sleep', ['1000'], { detached: true, stdio: 'inherit' }).pid`;
    const job = new Job({ commands: [`console.log(${leave}); process.exit()`], shell: [process.execPath] });
    await job.run();
    process.kill(Number(job.stdout), 'SIGKILL');
  });

  test('dies with its driver', async () => {
    const driver = spawnGroup(stubborn);
    const exited = once(driver, 'exit');
    const [first] = (await once(driver.stdout, 'data')) as [Buffer];
    const pids = first.toString().trim().split(' ').map(Number);
    expect(pids.every(isAlive)).toBe(true);
    driver.kill('SIGKILL');
    await exited;
    await expect.poll(() => pids.some(isAlive)).toBe(false);
  });

  test('leaves nothing that keeps its driver from exiting', async () => {
    expect(await once(spawnGroup(['echo done']), 'exit')).toEqual([0, null]);
  });

  test('leaves no file behind when it is killed', async () => {
    const job = new Job({ commands: stubborn });
    const ended = job.run();
    await pidsOf(job);
    job.kill();
    await expect(ended).rejects.toThrow();
    expect(await readdir(join(root, 'attempts'))).toEqual([]);
  });
});
