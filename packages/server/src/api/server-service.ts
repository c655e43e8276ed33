// ServerService: what this server is and which limits it keeps.
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import type { ServerService } from '@conveyor/protocol/conveyor/v1/server_service_pb.js';
import { LIMITS } from '../core/limits.ts';
import type { Engine } from '../engine/engine.ts';

export function createServerService(
  { replica, timing, maxLogBytes }: Engine,
  version: string,
): ServiceImpl<typeof ServerService> {
  return {
    getServerInfo: () => ({
      version,
      replica,
      capabilities: [],
      limits: {
        maxRequestBytes: LIMITS.requestBytes,
        maxResponseBytes: LIMITS.responseBytes,
        maxJobsPerRun: LIMITS.jobsPerRun,
        maxSpecBytes: LIMITS.specBytes,
        maxParamsBytes: LIMITS.paramsBytes,
        maxOutputBytes: LIMITS.outputBytes,
        maxLogBytes: BigInt(maxLogBytes),
        maxSessions: LIMITS.sessions,
        maxStreams: LIMITS.streams,
        leaseDuration: durationFromMs(timing.leaseMs),
        heartbeatInterval: durationFromMs(timing.heartbeatMs),
      },
    }),
  };
}
