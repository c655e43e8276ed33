// DriverService, but for its sessions: those are served by the gRPC door alone (session/).
import type { MessageInitShape } from '@bufbuild/protobuf';
import { type Duration, timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import {
  DrainDeadline,
  type DrainDriversRequest,
  type DriverService,
  type PauseQueueRequest,
} from '@conveyor/protocol/conveyor/v1/driver_service_pb.js';
import type { QueuePauseSchema, QueueSchema } from '@conveyor/protocol/conveyor/v1/queue_pb.js';
import {
  addViolation,
  checkCount,
  checkName,
  DRIVER_NAME,
  DRIVER_PATTERN,
  type Found,
  INSTANCE_ID,
  INSTANCE_PATTERN,
  PIPELINE_NAME,
} from '../core/check-fields.ts';
import type { QueuePause, QueueView } from '../core/views.ts';
import type { DrainRequest } from '../engine/driver-operations.ts';
import type { Engine } from '../engine/engine.ts';
import { unimplementedError } from './call-error.ts';
import { encodeDemand } from './encode-demand.ts';
import { encodeDriver } from './encode-run.ts';
import { encodePageToken } from './page-token.ts';
import { decodeAsker, decodeDuration, decodePage, decodeProject, decodeRequest } from './request-fields.ts';

const MAX_WAIT_MS = 3_600_000;
/** Names of drivers that one may ask for. */
const MAX_DRIVERS = 100;

export function createDriverService({ drivers }: Engine): ServiceImpl<typeof DriverService> {
  return {
    session() {
      throw unimplementedError('driver sessions are served over native gRPC only, by the gRPC address of this server');
    },

    async listDrivers(request) {
      const { name, includeGone } = request;
      const list = ['ListDrivers', name, includeGone];
      const page = decodeRequest((found) => {
        if (name !== '') checkName(found, 'name', name, DRIVER_NAME);
        return decodePage(found, request, { request: list });
      });
      const { items, next } = await drivers.list({ ...(name !== '' && { name }), includeGone }, page);
      return { drivers: items.map(encodeDriver), nextPageToken: encodePageToken(next, list) };
    },

    async getDriver({ name, instance }) {
      decodeRequest((found) => {
        checkName(found, 'name', name, DRIVER_NAME);
        checkName(found, 'instance', instance, INSTANCE_ID);
      });
      return { driver: encodeDriver(await drivers.get(name, instance)) };
    },

    async drainDrivers(request, { signal }) {
      const decoded = decodeRequest((found) => decodeDrain(found, request));
      const { drivers: drained, idle, evicted } = await drivers.drain(decoded, signal);
      return { drivers: drained.map(encodeDriver), idle, evicted };
    },

    async pauseQueue(request) {
      const pause = decodeRequest((found) => ({ ...decodeQueue(found, request), ...decodeAsker(found, request) }));
      return { pause: encodeQueuePause(await drivers.pauseQueue(pause)) };
    },

    async resumeQueue(request) {
      return { resumed: await drivers.resumeQueue(decodeRequest((found) => decodeQueue(found, request))) };
    },

    async listQueues(request) {
      const list = ['ListQueues'];
      const page = decodeRequest((found) => decodePage(found, request, { request: list }));
      const { items, next } = await drivers.listQueues(page);
      return { queues: items.map(encodeQueue), nextPageToken: encodePageToken(next, list) };
    },

    async *watchDemand(request, { signal }) {
      const names = decodeRequest((found) => decodeDrivers(found, request.drivers));
      for await (const { changes, snapshotComplete } of drivers.watchDemand(names, signal)) {
        yield {
          changes: changes.map(({ demand, ended }) => ({ demand: encodeDemand(demand), ended })),
          snapshotComplete,
        };
      }
    },
  };
}

function decodeDrivers(found: Found, drivers: readonly string[]): readonly string[] {
  checkCount(found, 'drivers', drivers.length, MAX_DRIVERS);
  for (const [index, driver] of drivers.slice(0, MAX_DRIVERS).entries()) {
    checkName(found, `drivers[${index}]`, driver, DRIVER_NAME);
  }
  return drivers;
}

function decodeQueue(
  found: Found,
  { driver, project, pipeline }: Pick<PauseQueueRequest, 'driver' | 'project' | 'pipeline'>,
): Pick<QueuePause, 'driver' | 'project' | 'pipeline'> {
  checkName(found, 'driver', driver, DRIVER_NAME);
  if (pipeline !== '') checkName(found, 'pipeline', pipeline, PIPELINE_NAME);
  const isAll = project === '' && pipeline === '';
  return { driver, project: isAll ? '' : decodeProject(project), pipeline };
}

function encodeQueue({ driver, queued, pauses }: QueueView): MessageInitShape<typeof QueueSchema> {
  return { driver, queued, pauses: pauses.map(encodeQueuePause) };
}

export function encodeQueuePause({ sinceMs, ...pause }: QueuePause): MessageInitShape<typeof QueuePauseSchema> {
  return { ...pause, pauseTime: timestampFromMs(sinceMs) };
}

function decodeDrain(found: Found, request: DrainDriversRequest): DrainRequest {
  const { name, undo, waitTimeout, onDeadline } = request;
  const instance = request.instance === '' ? '*' : request.instance;
  checkName(found, 'name', name, DRIVER_PATTERN);
  checkName(found, 'instance', instance, INSTANCE_PATTERN);
  if (DrainDeadline[onDeadline] === undefined) {
    addViolation(found, 'on_deadline', `must be RETURN or EVICT; got ${String(onDeadline)}`);
  } else if (undo && onDeadline !== DrainDeadline.UNSPECIFIED) {
    addViolation(found, 'on_deadline', 'must not be set with `undo`: nothing is to be waited for');
  }
  const waitMs = decodeWait(found, waitTimeout);
  const wait = waitMs === undefined ? {} : { waitMs };
  return { name, instance, undo, ...wait, evict: onDeadline === DrainDeadline.EVICT };
}

function decodeWait(found: Found, wait: Duration | undefined): number | undefined {
  const ms = decodeDuration(wait);
  if (ms !== undefined && (ms < 0 || ms > MAX_WAIT_MS)) {
    addViolation(found, 'wait_timeout', `must be 0 s to 1 h; got ${ms / 1_000} s`);
  }
  return ms;
}
