// Calls on drivers and their queues, and on the server itself.
import { DrainDeadline, DriverService } from '@conveyor/protocol/conveyor/v1/driver_service_pb.js';
import { ServerService } from '@conveyor/protocol/conveyor/v1/server_service_pb.js';
import { expect } from 'vitest';
import { type Case } from './call-case.ts';

export const DRIVER_CALLS: readonly Case[] = [
  {
    method: DriverService.method.listDrivers,
    request: { name: 'shell', includeGone: true },
    asked: [{ name: 'shell', includeGone: true }, { size: 100 }],
    answered: { drivers: [{ instance: 'shell-1', state: 'DRIVER_STATE_READY', slots: 4, held: 1, epoch: '2' }] },
  },
  {
    method: DriverService.method.getDriver,
    request: { name: 'shell', instance: 'shell-1' },
    asked: ['shell', 'shell-1'],
    answered: { driver: { specSchema: { type: 'object' } } },
  },
  {
    method: DriverService.method.drainDrivers,
    request: { name: 'shell-*', waitTimeout: { seconds: 2n }, onDeadline: DrainDeadline.EVICT },
    asked: [{ name: 'shell-*', instance: '*', undo: false, waitMs: 2_000, evict: true }, expect.any(AbortSignal)],
    answered: { drivers: [{ state: 'DRIVER_STATE_DRAINING' }], evicted: 3 },
  },
  {
    method: DriverService.method.drainDrivers,
    request: { name: 'shell', instance: 'host-1', undo: true },
    asked: [{ name: 'shell', instance: 'host-1', undo: true, evict: false }, expect.any(AbortSignal)],
    answered: { drivers: [{ state: 'DRIVER_STATE_DRAINING' }] },
  },
  {
    method: DriverService.method.pauseQueue,
    request: { driver: 'shell', pipeline: 'ci', actor: 'ana', reason: 'upgrade' },
    asked: [{ driver: 'shell', project: 'default', pipeline: 'ci', actor: 'ana', reason: 'upgrade' }],
    answered: { pause: { driver: 'shell', project: 'default', pipeline: 'ci', pauseTime: '2023-11-14T22:13:20Z' } },
  },
  {
    method: DriverService.method.resumeQueue,
    request: { driver: 'shell' },
    asked: [{ driver: 'shell', project: '', pipeline: '' }],
    answered: { resumed: true },
  },
  {
    method: DriverService.method.listQueues,
    request: { pageSize: 5 },
    asked: [{ size: 5 }],
    answered: {
      queues: [{ driver: 'shell', queued: 7, pauses: [{ actor: 'ana' }] }],
      nextPageToken: expect.any(String),
    },
  },
  {
    method: DriverService.method.watchDemand,
    request: { drivers: ['shell', 'other'] },
    asked: [['shell', 'other'], expect.any(AbortSignal)],
    answered: {
      changes: [
        {
          demand: {
            driver: 'shell',
            required: [{ key: 'os', operator: 'LABEL_OPERATOR_IN', values: ['linux', 'mac'] }],
            pool: 'gpu',
            queued: 7,
            paused: 2,
            moreQueued: true,
            oldestQueueTime: '2023-11-14T22:13:20Z',
            instances: 3,
            slots: 12,
            freeSlots: 5,
            held: 6,
          },
          ended: true,
        },
      ],
      snapshotComplete: true,
    },
  },
  {
    method: ServerService.method.getServerInfo,
    request: {},
    asked: [],
    answered: { version: '1.2.3', replica: 'replica-1', limits: { maxRequestBytes: 1_048_576, leaseDuration: '30s' } },
  },
];
