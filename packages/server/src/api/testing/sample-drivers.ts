// A driver instance, what waits for it, and a group that jobs share.
import type { DemandView } from '../../core/demand.ts';
import type { DriverView, QueueView } from '../../core/views.ts';
import { RUN_ID } from './sample-runs.ts';

export const DRIVER: DriverView = {
  name: 'shell',
  instance: 'shell-1',
  state: 'READY',
  labels: { os: 'linux' },
  slots: 4,
  pools: { gpu: 2 },
  held: 1,
  epoch: 2,
  version: '1.0.0',
  createdMs: 1_700_000_000_000,
  connectedMs: 1_700_000_001_000,
  heartbeatMs: 1_700_000_002_000,
};

export const QUEUE: QueueView = {
  driver: 'shell',
  queued: 7,
  pauses: [{ driver: 'shell', project: '', pipeline: '', actor: 'ana', reason: 'upgrade', sinceMs: 1_700_000_000_000 }],
};

export const DEMAND: DemandView = {
  driver: 'shell',
  required: [{ key: 'os', operator: 'IN', values: ['linux', 'mac'] }],
  pool: 'gpu',
  queued: 7,
  paused: 2,
  more: true,
  oldestMs: 1_700_000_000_000,
  instances: 3,
  slots: 12,
  freeSlots: 5,
  held: 6,
};

export const GROUP = { key: 'deploy', holding: 1, waiting: 2, limit: 1 };

export const MEMBER = {
  runId: RUN_ID,
  job: 0,
  readyMs: 1_700_000_000_000,
  state: 'HOLDING',
  limit: 1,
  policy: 'QUEUE',
} as const;
