// DriverService, but for its sessions: those are served by the gRPC door alone (session/).
import type { ServiceImpl } from '@connectrpc/connect';
import type { DriverService } from '@conveyor/protocol/conveyor/v1/driver_service_pb.js';
import { addViolation, checkName, DRIVER_NAME, type Found, INSTANCE_ID } from '../core/check-fields.ts';
import type { Engine } from '../engine/engine.ts';
import { unimplementedError } from './call-error.ts';
import { encodeDriver } from './encode-run.ts';
import { encodePageToken } from './page-token.ts';
import { decodeDuration, decodePage, decodeRequest } from './request-fields.ts';
import type { Duration } from '@bufbuild/protobuf/wkt';

const MAX_WAIT_MS = 3_600_000;

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

    async drainDrivers({ name, instance, undo, waitTimeout }, { signal }) {
      const waitMs = decodeRequest((found) => {
        checkName(found, 'name', name, DRIVER_NAME);
        if (instance !== '') checkName(found, 'instance', instance, INSTANCE_ID);
        return decodeWait(found, waitTimeout);
      });
      const { drivers: drained, idle } = await drivers.drain(
        name,
        instance === '' ? undefined : instance,
        undo,
        waitMs,
        signal,
      );
      return { drivers: drained.map(encodeDriver), idle };
    },
  };
}

function decodeWait(found: Found, wait: Duration | undefined): number | undefined {
  const ms = decodeDuration(wait);
  if (ms !== undefined && (ms < 0 || ms > MAX_WAIT_MS)) {
    addViolation(found, 'wait_timeout', `must be 0 s to 1 h; got ${ms / 1_000} s`);
  }
  return ms;
}
