import { expect, it } from 'vitest';
import { makeRunId } from '../core/ids.ts';
import { jobNamed } from '../core/testing/definitions.ts';
import type { RunView } from '../core/views.ts';
import { encodeWholeRun } from './encode-run.ts';

const runId = makeRunId(0, new Uint8Array(10));
const run: RunView = {
  runId,
  project: 'default',
  state: 'RUNNING',
  labels: {},
  trigger: { kind: 'api', actor: '', reference: '' },
  counts: { total: 1, open: 1, succeeded: 0, failed: 0, failureAllowed: 0, skipped: 0, cancelled: 0 },
  seq: 1,
  createdMs: 0,
  params: {},
  definition: { jobs: [jobNamed('plan')], labels: {} },
};

it('a run has what was appended to it beside its definition, by who did', () => {
  const { definition, appendedJobs } = encodeWholeRun({
    ...run,
    appended: [{ job: 0, name: 'plan', jobs: [jobNamed('pack'), jobNamed('push', { needs: ['pack'] })] }],
  });
  expect(definition?.jobs).toMatchObject([{ name: 'plan' }]);
  expect(appendedJobs).toMatchObject([
    { jobId: `${runId}.0`, job: 'plan', jobs: [{ name: 'pack' }, { name: 'push', needs: ['pack'] }] },
  ]);
});

it('of what was appended, a run has as much as fits, which is less than it has as JSON', () => {
  // As JSON a number takes two bytes, in a message eleven.
  const spec = { numbers: Array.from({ length: 25_000 }, () => 7) };
  const appended = Array.from({ length: 9 }, (_, n) => ({
    job: 0,
    name: 'plan',
    jobs: [jobNamed(`job-${n}`, { spec })],
  }));
  const { appendedJobs = [] } = encodeWholeRun({ ...run, appended });
  expect(appendedJobs.flatMap(({ jobs = [] }) => jobs.map(({ name }) => name))).toEqual(['job-0', 'job-1', 'job-2']);
});
