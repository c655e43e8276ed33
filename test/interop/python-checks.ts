// Owns what is checked of the driver in Python: it takes the place of `builder` in the tutorial, next to the three drivers in
// TypeScript, and its builds survive what may happen to a driver.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import {
  type Attempt,
  AttemptState,
  type Client,
  FailureClass,
  type Job,
  JobState,
  LogState,
  RunState,
} from '@conveyor/client';
import { createNodeClient } from '@conveyor/client/node';
import { RunCondition } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import type { ServerProcess } from '../bench/server-process.ts';
import { startProxy } from '../../packages/server/src/store/testing/proxy.ts';
import { temporaryDirectory } from '../bench/temporary-directory.ts';
import type { Checklist } from './checklist.ts';
import { type Program, mustRun, startProgram } from './command.ts';
import { type Python, repository } from './toolchains.ts';

const limitMs = 90_000;
const tutorial = join(repository, 'examples', 'tutorial');
const builderInPython = join(repository, 'test', 'interop', 'python', 'builder_driver.py');

/** What the checks share: a server, and three of the tutorial's four drivers. */
interface Stage {
  readonly client: Client;
  readonly server: ServerProcess;
  readonly python: Python;
  /** Where the containers are. */
  readonly containers: string;
  /** A repository with one commit. */
  readonly source: string;
}

export async function checkPythonDriver(checklist: Checklist, server: ServerProcess, python: Python): Promise<void> {
  await using directory = await temporaryDirectory();
  await using drivers = new AsyncDisposableStack();
  const containers = join(directory.path, 'containers');
  const env = { CONVEYOR_ADDRESS: server.grpcAddress, CONVEYOR_TOKEN: server.driverToken, TUTORIAL_ROOT: containers };
  for (const name of ['container-start', 'git-cloner', 'container-stop']) {
    drivers.use(startProgram(process.execPath, ['--conditions=source', join(tutorial, `${name}.ts`)], env));
  }
  const client = createNodeClient({ address: server.grpcAddress, token: server.operatorToken });
  const stage: Stage = { client, server, python, containers, source: join(directory.path, 'source') };
  for (const [name, body] of Object.entries(checks)) {
    await checklist.check(`a builder in Python ${name}`, limitMs, (signal) => body(stage, signal));
  }
}

const checks: Record<string, (stage: Stage, signal: AbortSignal) => Promise<void>> = {
  async 'runs its step of the tutorial, with every byte of its log'(stage, signal) {
    const { client, source } = stage;
    await using _ = startBuilder(stage, 'python-tutorial');
    const { commit, log } = await makeRepository(source, signal);
    const cli = join(repository, 'packages', 'cli', 'src', 'main.ts');
    const apply = ['--conditions=source', cli, 'apply', '-f', join(tutorial, 'pipeline.yaml')];
    const { grpcAddress: CONVEYOR_ADDRESS, operatorToken: CONVEYOR_TOKEN } = stage.server;
    await mustRun(process.execPath, apply, { signal, env: { CONVEYOR_ADDRESS, CONVEYOR_TOKEN } });
    const { runId } = await client.runs.create({ pipeline: 'tutorial', params: { repository: source } });

    assert.equal((await client.runs.finished(runId, { signal })).state, RunState.SUCCEEDED);
    const jobs = await jobsOf(client, runId);
    assert.equal(jobs['git-cloner']?.outputs['commit']?.kind.value, commit);
    const attempt = await onlyAttempt(client, jobs['builder']);
    assert.equal(attempt.driverInstance, 'python-tutorial');
    assert.equal(attempt.logState, LogState.SEALED);
    const stored = await readLog(client, attempt);
    assert.equal(sha256(stored), sha256(log), stored);
    assert.equal(jobs['container-stop']?.state, JobState.SUCCEEDED);
    const [driver] = await Array.fromAsync(client.drivers.list({ name: 'builder' }));
    assert.ok(timestampMs(driver!.heartbeatTime!) > timestampMs(driver!.connectTime!), 'no heartbeat was counted');
  },

  async 'reports how a build failed, and the container is stopped all the same'(stage, signal) {
    await using _ = startBuilder(stage, 'python-failure');
    const runId = await runBuild(stage, 'echo about to fail; exit 3');
    assert.equal((await stage.client.runs.finished(runId, { signal })).state, RunState.FAILED);
    const { builder, ...others } = await jobsOf(stage.client, runId);
    assert.equal(builder?.failure?.class, FailureClass.WORKLOAD);
    assert.equal(builder.failure.exitCode, 3);
    assert.equal(others['container-stop']?.state, JobState.SUCCEEDED);
    assert.deepEqual(await readdir(stage.containers), []);
  },

  async 'goes on with the same attempt after it was killed and started again'(stage, signal) {
    const command = 'for n in 1 2 3 4 5 6 7 8; do echo line $n; sleep 0.3; done';
    let builder = startBuilder(stage, 'python-killed');
    await using _ = { [Symbol.asyncDispose]: () => builder[Symbol.asyncDispose]() };
    const runId = await runBuild(stage, command);
    await untilLogged(stage.client, runId, 'line 3', signal);
    await builder.end('SIGKILL');
    builder = startBuilder(stage, 'python-killed');

    assert.equal((await stage.client.runs.finished(runId, { signal })).state, RunState.SUCCEEDED);
    const attempt = await onlyAttempt(stage.client, (await jobsOf(stage.client, runId))['builder']);
    assert.equal(await readLog(stage.client, attempt), [1, 2, 3, 4, 5, 6, 7, 8].map((n) => `line ${n}\n`).join(''));
    const events = await Array.fromAsync(stage.client.runs.watch(runId, { signal }));
    assert.ok(events.some((event) => event.kind.case === 'attemptAdopted'));
  },

  async 'gives up what it finds gone, and the job is tried again'(stage, signal) {
    let builder = startBuilder(stage, 'python-forgetful');
    await using _ = { [Symbol.asyncDispose]: () => builder[Symbol.asyncDispose]() };
    // The first build waits until the container is stopped.
    const runId = await runBuild(
      stage,
      'echo begun; mkdir seen && while test -e "$PWD"; do sleep 0.1; done; echo done',
    );
    await untilLogged(stage.client, runId, 'begun', signal);
    await builder.end('SIGKILL');
    const container = join(stage.containers, runId);
    const builds = (await readdir(container)).filter((name) => name.startsWith('build-'));
    assert.equal(builds.length, 1);
    await rm(join(container, builds[0]!), { recursive: true });
    builder = startBuilder(stage, 'python-forgetful');

    assert.equal((await stage.client.runs.finished(runId, { signal })).state, RunState.SUCCEEDED);
    const { jobId } = (await jobsOf(stage.client, runId))['builder']!;
    const attempts = await Array.fromAsync(stage.client.jobs.attempts(jobId));
    assert.deepEqual(
      attempts.map(({ state }) => state),
      [AttemptState.LOST, AttemptState.SUCCEEDED],
    );
  },

  async 'sends a long log over connections that break, without a gap or a repeat'(stage, signal) {
    const lines = 150_000;
    const [host = '', port = ''] = stage.server.grpcAddress.split(':');
    await using proxy = await startProxy({ host, port: Number(port) });
    await using _ = startBuilder(stage, 'python-severed', proxy.address);
    const runId = await runBuild(stage, `seq -f 'line %.0f of a log that takes a while to send' 1 ${lines}`);
    for (const line of [1_000, 60_000, 120_000]) {
      await untilLogged(stage.client, runId, `line ${line} `, signal);
      assert.ok(proxy.sever() > 0, 'there was no connection to sever');
    }

    assert.equal((await stage.client.runs.finished(runId, { signal })).state, RunState.SUCCEEDED);
    const attempt = await onlyAttempt(stage.client, (await jobsOf(stage.client, runId))['builder']);
    assert.equal(attempt.logState, LogState.SEALED);
    const due = Array.from({ length: lines }, (_line, n) => `line ${n + 1} of a log that takes a while to send\n`);
    assert.equal(sha256(await readLog(stage.client, attempt)), sha256(due.join('')));
  },

  async 'stops a build that is cancelled, and lets it clean up'(stage, signal) {
    await using _ = startBuilder(stage, 'python-cancelled');
    const runId = await runBuild(stage, "trap 'echo cleaned up; exit 1' TERM; echo started; sleep 20 & wait");
    await untilLogged(stage.client, runId, 'started', signal);
    await stage.client.runs.cancel(runId, { reason: 'not wanted any more' });

    assert.equal((await stage.client.runs.finished(runId, { signal })).state, RunState.CANCELLED);
    const attempt = await onlyAttempt(stage.client, (await jobsOf(stage.client, runId))['builder']);
    assert.equal(attempt.state, AttemptState.CANCELLED);
    assert.equal(await readLog(stage.client, attempt), 'started\ncleaned up\n');
  },
};

function startBuilder({ python, server }: Stage, instance: string, address = server.grpcAddress): Program {
  const env = { ...python.env, CONVEYOR_ADDRESS: address, CONVEYOR_TOKEN: server.driverToken };
  return startProgram(python.program, [builderInPython, instance], env);
}

/** Creates a run that starts a container, runs the command in it, and stops it. Returns its id. */
async function runBuild({ client }: Stage, command: string): Promise<string> {
  const jobs = [
    { name: 'container-start', driver: 'container-start' },
    { name: 'builder', driver: 'builder', needs: ['container-start'], spec: { command } },
    {
      name: 'container-stop',
      driver: 'container-stop',
      needs: ['container-start', 'builder'],
      when: RunCondition.ALWAYS,
    },
  ];
  return (await client.runs.create({ definition: { jobs } })).runId;
}

async function jobsOf(client: Client, runId: string): Promise<Record<string, Job>> {
  const jobs = await Array.fromAsync(client.jobs.list(runId));
  return Object.fromEntries(jobs.map((job) => [job.name, job]));
}

async function onlyAttempt(client: Client, job: Job | undefined): Promise<Attempt> {
  assert.ok(job !== undefined);
  const attempts = await Array.fromAsync(client.jobs.attempts(job.jobId));
  assert.equal(attempts.length, 1, JSON.stringify(attempts.map(({ state, failure }) => [state, failure?.message])));
  return attempts[0]!;
}

async function readLog(client: Client, { jobId, number }: Attempt): Promise<string> {
  const parts = await Array.fromAsync(client.jobs.readLog(jobId, { attempt: number }));
  return Buffer.concat(parts.flatMap(({ chunks }) => chunks.map(({ data }) => data))).toString();
}

/** Waits until the log of the builder holds the text. */
async function untilLogged(client: Client, runId: string, text: string, signal: AbortSignal): Promise<void> {
  const { jobId } = (await jobsOf(client, runId))['builder']!;
  let log = '';
  for await (const { chunks } of client.jobs.tailLog(jobId, {}, { signal })) {
    for (const { data } of chunks) log += Buffer.from(data).toString();
    if (log.includes(text)) return;
  }
  throw new Error(`the log ended without ${JSON.stringify(text)}:\n${log}`);
}

/** Makes a repository of two files, and says what the tutorial's build writes about it. */
async function makeRepository(directory: string, signal: AbortSignal): Promise<{ commit: string; log: string }> {
  const who = { GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@b', GIT_COMMITTER_NAME: 'a', GIT_COMMITTER_EMAIL: 'a@b' };
  const git = async (...words: string[]): Promise<string> =>
    (await mustRun('git', ['-C', directory, ...words], { signal, env: who })).trim();
  await mustRun('git', ['init', '--quiet', directory], { signal });
  for (const name of ['one', 'two']) await writeFile(join(directory, name), name);
  await git('add', '.');
  await git('commit', '--quiet', '--message', 'all');
  const short = await git('rev-parse', '--short', 'HEAD');
  const steps = [1, 2, 3, 4, 5, 6].map((step) => `step ${step} of ${short}\n`);
  return { commit: await git('rev-parse', 'HEAD'), log: `${steps.join('')}2\n` };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
