// A schedule and what became of its times.
import type { OccurrenceView, ScheduleView } from '../../core/schedule.ts';
import { RUN_ID } from './sample-runs.ts';

export const SCHEDULE: ScheduleView = {
  project: 'default',
  name: 'nightly',
  spec: {
    run: { pipeline: { name: 'ci' }, params: { sha: 'HEAD' }, labels: { kind: 'nightly' } },
    cron: ['0 3 * * *'],
    timeZone: 'Europe/Berlin',
    startMs: 1_700_000_000_000,
    overlap: 'QUEUE_ONE',
    missed: 'RUN_ALL',
    catchUpMs: 90_000,
    maxCatchUp: 3,
    pausedIsMissed: true,
  },
  nextMs: 1_700_000_060_000,
  createdMs: 1_700_000_000_000,
  updatedMs: 1_700_000_001_500,
};

export const OCCURRENCES: readonly OccurrenceView[] = [
  { atMs: 1_700_000_003_000, state: 'STARTED', origin: 'TRIGGER', runId: RUN_ID, decidedMs: 1_700_000_003_500 },
  { atMs: 1_700_000_002_000, state: 'SKIPPED', origin: 'TIME', skip: 'OVERLAP', decidedMs: 1_700_000_002_500 },
  {
    atMs: 1_700_000_001_000,
    state: 'FAILED',
    origin: 'BACKFILL',
    failure: { reason: 'PIPELINE_NOT_FOUND', message: 'pipeline ci does not exist' },
    decidedMs: 1_700_000_001_500,
  },
];
