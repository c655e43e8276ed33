// Every pipeline of examples/pipelines, run as it is written through a real server and the example drivers; and that docs/pipelines.md
// names each.
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JsonObject } from '@bufbuild/protobuf';
import { type Client, JobState, RunState } from '@conveyor/client';
import type { DriverDefinition } from '@conveyor/driver';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { generator } from '../../examples/pipelines/generator.ts';
import { releases } from '../../examples/pipelines/releases.ts';
import { createShellDriver } from '../../examples/shell/shell-driver.ts';
import { parsePipeline } from '../../packages/cli/src/pipeline-file.ts';
import { jobsByName, outputsOf } from './jobs.ts';
import { startSystem, type System } from './system.ts';

const directory = new URL('../../examples/pipelines/', import.meta.url);

/** What becomes of an example. */
interface Expected {
  readonly params?: JsonObject;
  readonly labels?: Readonly<Record<string, string>>;
  /** Default: SUCCEEDED. */
  readonly run?: string;
  readonly jobs: Readonly<Record<string, keyof typeof JobState>>;
  readonly outputs?: Readonly<Record<string, JsonObject>>;
  /** What its limits were worked out to, by job. */
  readonly limits?: Readonly<Record<string, object>>;
  /** Answers its gates. */
  readonly meanwhile?: (client: Client, runId: string) => Promise<void>;
}

const expected: Readonly<Record<string, Expected>> = {
  'needs.yaml': { jobs: { build: 'SUCCEEDED', unit: 'SUCCEEDED', lint: 'SUCCEEDED', publish: 'SUCCEEDED' } },
  'outcomes.yaml': {
    run: 'FAILED',
    jobs: { test: 'FAILED', deploy: 'SKIPPED', rollback: 'SUCCEEDED', report: 'SUCCEEDED' },
  },
  'conditions.yaml': {
    labels: { branch: 'main' },
    jobs: { build: 'SUCCEEDED', docs: 'SUCCEEDED', deploy: 'SKIPPED' },
  },
  'expressions.yaml': {
    labels: { team: 'web' },
    params: { replicas: 2 },
    jobs: { build: 'SUCCEEDED', deploy: 'SUCCEEDED' },
    outputs: { deploy: { deployed: 'registry.example.org/web/app:1.4.4 x 2' } },
  },
  'allow-failure.yaml': { jobs: { experimental: 'FAILED', release: 'SUCCEEDED' } },
  'concurrency.yaml': {
    params: { environment: 'production', deploys: 2 },
    jobs: { build: 'SUCCEEDED', deploy: 'SUCCEEDED', 'deploy[eu]': 'SUCCEEDED', 'deploy[us]': 'SUCCEEDED' },
    limits: {
      deploy: { maxParallel: 2 },
      'deploy[us]': { concurrencyLimit: 2, rateLimits: [{ key: 'deployments', limit: 30 }] },
    },
  },
  'finally.yaml': {
    run: 'FAILED',
    jobs: { provision: 'SUCCEEDED', test: 'FAILED', 'tear-down': 'SUCCEEDED', 'call-for-help': 'SUCCEEDED' },
    outputs: { 'tear-down': { gone: 'h-1' } },
  },
  'fail-fast.yaml': { run: 'FAILED', jobs: { quick: 'FAILED', slow: 'CANCELLED', later: 'CANCELLED' } },
  'stages.yaml': { jobs: { compile: 'SUCCEEDED', bundle: 'SUCCEEDED', unit: 'SUCCEEDED', ship: 'SUCCEEDED' } },
  'matrix.yaml': {
    jobs: {
      test: 'SUCCEEDED',
      'test[22,linux]': 'SUCCEEDED',
      'test[24,linux]': 'SUCCEEDED',
      'test[24,mac]': 'SUCCEEDED',
      'test[24,windows]': 'SUCCEEDED',
      report: 'SUCCEEDED',
    },
    outputs: { report: { first: 'linux 24 true' }, 'test[24,windows]': { ran: 'windows 24 false' } },
  },
  'dynamic-matrix.yaml': {
    jobs: {
      plan: 'SUCCEEDED',
      test: 'SUCCEEDED',
      'test[a]': 'SUCCEEDED',
      'test[b]': 'SUCCEEDED',
      'test[c]': 'SKIPPED',
      'test[d]': 'SUCCEEDED',
      merge: 'SUCCEEDED',
    },
  },
  'gate.yaml': {
    jobs: { build: 'SUCCEEDED', release: 'SUCCEEDED', ship: 'SUCCEEDED' },
    outputs: { release: { percent: 10 }, ship: { shipped: '10' } },
    async meanwhile(client, runId) {
      await expect.poll(async () => (await jobsByName(client, runId)).get('release')?.state).toBe(JobState.WAITING);
      const { jobId } = (await jobsByName(client, runId)).get('release')!;
      const answers = { percent: 10 };
      await client.jobs.answerGate(jobId, { verdict: 'approve', actor: 'ada', answers });
      await client.jobs.answerGate(jobId, { verdict: 'approve', actor: 'ben', groups: ['release-managers'], answers });
    },
  },
  'child.yaml': { params: { target: 'linux' }, jobs: { package: 'SUCCEEDED' } },
  'call.yaml': {
    jobs: {
      packages: 'SUCCEEDED',
      'packages[linux]': 'SUCCEEDED',
      'packages[mac]': 'SUCCEEDED',
      publish: 'SUCCEEDED',
    },
    outputs: { publish: { first: 'linux.tar' } },
  },
  'params.yaml': {
    params: { version: '1.2' },
    jobs: { release: 'SUCCEEDED' },
    outputs: { release: { released: '1.2-beta' } },
  },
  'typed-outputs.yaml': { run: 'FAILED', jobs: { build: 'FAILED', deploy: 'SKIPPED' } },
  'retries.yaml': { jobs: { flaky: 'SUCCEEDED' } },
  'append.yaml': {
    jobs: {
      plan: 'SUCCEEDED',
      'build-web': 'SUCCEEDED',
      'build-api': 'SUCCEEDED',
      publish: 'SUCCEEDED',
      notify: 'SUCCEEDED',
    },
  },
  'values.yaml': {
    jobs: {
      package: 'SUCCEEDED',
      'package[client]': 'SUCCEEDED',
      'package[server]': 'SUCCEEDED',
      'package[cli]': 'SUCCEEDED',
    },
  },
};

describe('the examples', () => {
  let system: System;
  let client: Client;
  let stack: AsyncDisposableStack;
  beforeAll(async () => {
    stack = new AsyncDisposableStack();
    system = stack.use(await startSystem());
    client = system.replicas[0]!.client;
    const root = await mkdtemp(join(tmpdir(), 'conveyor-examples-'));
    stack.defer(() => rm(root, { recursive: true, force: true }));
    const drivers: readonly DriverDefinition<never>[] = [createShellDriver({ root, slots: 8 }), releases, generator];
    for (const [index, driver] of drivers.entries()) {
      const running = driver.start({
        addresses: system.replicas.map(({ ready }) => ready.grpcAddress),
        token: await system.token('driver'),
        instanceId: `example-${index}`,
      });
      stack.defer(() => running.drain().catch(() => undefined));
      await running.ready;
    }
    const { name, definition } = await read('child.yaml');
    await client.pipelines.apply({ name: name!, definition });
  });
  afterAll(() => stack.disposeAsync());

  test.concurrent.each(Object.entries(expected))('%s does what it says', async (file, example) => {
    const { definition } = await read(file);
    const { params = {}, labels = {}, run: state = 'SUCCEEDED', jobs, outputs = {}, limits = {}, meanwhile } = example;
    const { runId } = await client.runs.create({ definition, params, labels });
    await meanwhile?.(client, runId);
    const run = await client.runs.finished(runId);
    const found = await jobsByName(client, runId);
    expect(Object.fromEntries([...found].map(([name, job]) => [name, JobState[job.state]]))).toEqual(jobs);
    expect(RunState[run.state]).toBe(state);
    for (const [name, values] of Object.entries(outputs)) expect(outputsOf(found.get(name)!)).toMatchObject(values);
    for (const [name, worked] of Object.entries(limits)) expect(found.get(name)).toMatchObject(worked);
  });

  test('jobs that take numbers from one counter take each once, and say what they made', async () => {
    const { definition } = await read('values.yaml');
    const { runId } = await client.runs.create({ definition });
    await client.runs.finished(runId);
    const found = [...(await jobsByName(client, runId)).values()].filter(({ matrixJob }) => matrixJob !== '');
    expect(new Set(found.map((job) => outputsOf(job)['number']))).toEqual(new Set([1, 2, 3]));
    const names = new Set<string | undefined>();
    for await (const { artifact } of client.runs.artifacts(runId)) names.add(artifact?.name);
    expect(names).toEqual(new Set(['cli.txt', 'client.txt', 'server.txt']));
  });
});

test('every example is run, and named by the page on pipelines', async () => {
  const files = (await readdir(directory)).filter((file) => file.endsWith('.yaml'));
  expect(new Set(files)).toEqual(new Set(Object.keys(expected)));
  const page = await readFile(new URL('../../docs/pipelines.md', import.meta.url), 'utf8');
  const rows = page.split('\n').filter((line) => line.startsWith('| ') && line.includes('examples/pipelines/'));
  const named = new Set(
    rows.flatMap((row) => [...row.matchAll(/examples\/pipelines\/([a-z-]+\.yaml)/g)].map(([, file]) => file)),
  );
  expect(named).toEqual(new Set(files));
});

async function read(file: string) {
  return parsePipeline(await readFile(new URL(file, directory), 'utf8'), file);
}
