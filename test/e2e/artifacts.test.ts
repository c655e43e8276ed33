// What jobs declare to have made is told by whichever replica is asked, and is held to the ledger like everything else.
import { JobState } from '@conveyor/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createJob, finishedJob, jobOf } from './jobs.ts';
import { addressOf } from './raw-driver.ts';
import { startSystem, type System } from './system.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

const digest = `sha256:${'0a'.repeat(32)}`;

test('artifacts are recorded in order, watched, listed and verified', async () => {
  const [a, b] = system.replicas;
  await system.startDriver({ name: 'making', at: [b!] });
  const steps = ['app.tgz', 'app.sbom'].map((name) => ({ do: 'make', name, digest, size: name.length }) as const);
  const job = await createJob(a!.client, jobOf('making', { steps: [...steps] }));
  const seen: unknown[] = [];
  for await (const { kind, attempt } of a!.client.runs.watch(job.runId)) {
    if (kind.case === 'attemptArtifact') seen.push([attempt, kind.value.number, kind.value.artifact?.name]);
  }
  expect(seen).toEqual([
    [1, 1, 'app.tgz'],
    [1, 2, 'app.sbom'],
  ]);
  const made = [
    { name: 'app.tgz', digest, sizeBytes: 7n },
    { name: 'app.sbom', digest, sizeBytes: 8n },
  ];
  const { state, artifacts, artifactCount } = await finishedJob(b!.httpClient, job);
  expect([JobState[state], artifactCount]).toEqual(['SUCCEEDED', 2]);
  expect(artifacts).toMatchObject(made);
  const listed = await Array.fromAsync(b!.client.runs.artifacts(job.runId, { pageSize: 1 }));
  expect(listed.map(({ artifact }) => artifact)).toMatchObject(made);
  expect(listed[1]).toMatchObject({ job: 'job', jobId: job.jobId, attempt: 1, number: 2 });
  const [attempt] = await Array.fromAsync(a!.client.jobs.attempts(job.jobId));
  expect(attempt).toMatchObject({ artifactCount: 2, artifacts: made });
  expect((await a!.client.runs.verify(job.runId)).discrepancies).toEqual([]);

  await a!.client.runs.delete(job.runId);
  const gone = Array.fromAsync(b!.client.runs.artifacts(job.runId));
  await expect(gone).rejects.toMatchObject({ reason: 'RUN_NOT_FOUND' });
});

test('an artifact that is said again has one effect, and one that is wrong fails its attempt', async () => {
  const [a] = system.replicas;
  const session = await system.openSession({ at: a!, hello: { driver: 'forging' } });
  expect(session.welcome.capabilities).toContain('artifacts');
  const job = await createJob(a!.client, jobOf('forging', { steps: [] }));
  const offer = await session.startNext();
  const declare = (number: number, change: object = {}) =>
    ({
      case: 'declareArtifact',
      value: { ...addressOf(offer), number, artifact: { name: `n-${number}`, digest, sizeBytes: 1n, ...change } },
    }) as const;
  session.say(declare(1), declare(1, { name: 'again' }), declare(2), declare(3, { digest: 'sha256:0a' }));
  expect(await session.next('revoke')).toMatchObject({ attemptId: offer.attemptId });
  const { failure, artifacts } = await finishedJob(a!.client, job);
  expect(failure?.message).toContain('DeclareArtifact: artifact.digest must be written as');
  expect(artifacts.map(({ name }) => name)).toEqual(['n-1', 'n-2']);
});
