// Jobs of the sample run, an attempt and its log.
import type { AttemptView, JobView, LogPart } from '../../core/views.ts';
import { RUN_ID, ARTIFACT } from './sample-runs.ts';

export const JOB_ID = `${RUN_ID}.0`;

export const ATTEMPT_ID = `${RUN_ID}.0.1`;

export const JOB: JobView = {
  project: 'default',
  runId: RUN_ID,
  job: 0,
  name: 'build',
  driver: 'shell',
  state: 'WAITING',
  wait: { reason: 'BACKOFF', untilMs: 1_700_000_005_000 },
  needs: ['clone'],
  attempt: 1,
  failureAllowed: false,
  outputs: { image: 'a:1', sizes: [1, 2], none: null },
  progress: { phase: 'RUNNING', message: 'compiling', fraction: 0.5 },
  startedMs: 1_700_000_002_000,
};

export const STOPPING_JOB: JobView = {
  project: 'default',
  runId: RUN_ID,
  job: 0,
  name: 'build',
  driver: 'shell',
  state: 'CANCELLING',
  stop: { cause: 'CANCEL', phase: 'KILL', sinceMs: 1_700_000_007_000, reason: 'enough' },
  needs: ['clone'],
  attempt: 1,
  failureAllowed: false,
};

export const ATTEMPT: AttemptView = {
  project: 'default',
  runId: RUN_ID,
  job: 0,
  attempt: 1,
  state: 'FAILED',
  instance: 'shell-1',
  failure: { class: 'WORKLOAD', message: 'exit 2', exitCode: 2 },
  logSize: 11,
  logState: 'SEALED',
  annotations: [{ level: 'WARNING', text: 'slow', link: '' }],
  artifacts: [ARTIFACT],
  artifactCount: 101,
  offeredMs: 1_700_000_001_000,
  startedMs: 1_700_000_002_000,
  finishedMs: 1_700_000_003_000,
};

export const LOG_PART: LogPart = {
  attempt: 1,
  chunks: [
    {
      offset: 0,
      data: Buffer.from('hello\nworld'),
      spans: [
        { length: 6, channel: 'STDOUT', unixMs: 1_700_000_002_100 },
        { length: 5, channel: 'STDERR', unixMs: 1_700_000_002_200 },
      ],
    },
  ],
  sections: [{ offset: 0, name: 'make', end: false }],
  nextOffset: 11,
  logSize: 11,
  logState: 'SEALED',
};
