// A run and what it has: its values, its events, an artifact.
import type { Artifact } from '../../core/events.ts';
import { makeRunId } from '../../core/ids.ts';
import type { HoldBack } from '../../core/run-state.ts';
import type { EventView, RunView, RunValueView } from '../../core/views.ts';

export const RUN_ID = makeRunId(1_700_000_000_000, new Uint8Array(10));

export const RUN: RunView = {
  runId: RUN_ID,
  project: 'default',
  pipeline: 'ci',
  revision: 3,
  state: 'RUNNING',
  params: { sha: 'abc' },
  labels: { repo: 'conveyor' },
  trigger: { kind: 'push', actor: 'ada', reference: 'https://example.com/1' },
  counts: { total: 2, open: 1, succeeded: 1, failed: 0, failureAllowed: 0, skipped: 0, cancelled: 0 },
  seq: 7,
  createdMs: 1_700_000_000_000,
  startedMs: 1_700_000_001_000,
};

export const RUN_VALUE: RunValueView = {
  project: 'default',
  runId: RUN_ID,
  key: 'gate',
  value: { open: true, sizes: [1, null] },
  version: 7,
  updatedMs: 1_700_000_009_000,
};

export const HOLD: HoldBack = { reason: 'maintenance', actor: 'ada', sinceMs: 1_700_000_006_000 };

export const ARTIFACT: Artifact = {
  name: 'app',
  digest: `sha256:${'0a'.repeat(32)}`,
  sizeBytes: 1_024,
  uri: 's3://builds/app',
  mediaType: 'application/gzip',
};

export const EVENTS: readonly EventView[] = [
  {
    runId: RUN_ID,
    seq: 1,
    timeMs: 1_700_000_000_000,
    runState: 'PENDING',
    event: { type: 'RunCreated', jobs: 1, pipeline: 'ci', revision: 3, trigger: RUN.trigger },
  },
  {
    runId: RUN_ID,
    seq: 2,
    timeMs: 1_700_000_000_000,
    runState: 'RUNNING',
    jobName: 'build',
    jobState: 'FAILED',
    event: {
      type: 'AttemptEnded',
      job: 0,
      attempt: 1,
      state: 'FAILED',
      failure: { class: 'WORKLOAD', message: 'exit 2', exitCode: 2 },
      outputs: { image: 'a:1' },
      logSize: 11,
      logState: 'SEALED',
    },
  },
  {
    runId: RUN_ID,
    seq: 3,
    timeMs: 1_700_000_000_000,
    runState: 'RUNNING',
    jobName: 'build',
    jobState: 'RUNNING',
    event: { type: 'AttemptTimedOut', job: 0, attempt: 2, silenceMs: 1_500 },
  },
  {
    runId: RUN_ID,
    seq: 4,
    timeMs: 1_700_000_000_000,
    runState: 'RUNNING',
    jobName: 'build',
    jobState: 'RUNNING',
    event: { type: 'AttemptHeard', job: 0, attempt: 2, heardMs: 1_700_000_000_000 },
  },
  {
    runId: RUN_ID,
    seq: 5,
    timeMs: 1_700_000_000_000,
    runState: 'RUNNING',
    event: { type: 'RunPaused', reason: 'maintenance', actor: 'ada' },
  },
  {
    runId: RUN_ID,
    seq: 6,
    timeMs: 1_700_000_000_000,
    runState: 'RUNNING',
    jobName: 'build',
    jobState: 'WAITING',
    event: { type: 'JobWaiting', job: 0, reason: 'PAUSED', behind: { reason: 'BACKOFF', untilMs: 1 } },
  },
  {
    runId: RUN_ID,
    seq: 7,
    timeMs: 1_700_000_000_000,
    runState: 'RUNNING',
    jobName: 'build',
    jobState: 'RUNNING',
    event: { type: 'AttemptArtifact', job: 0, attempt: 2, number: 1, artifact: ARTIFACT },
  },
];
