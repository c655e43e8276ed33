// Owns the client: one transport under one policy, and the services over it. Runs in Node and in browsers.
import { Code, ConnectError, type Transport, createClient as createServiceClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-web';
import { DriverService } from '@conveyor/protocol/conveyor/v1/driver_service_pb.js';
import { JobService } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import { PipelineService } from '@conveyor/protocol/conveyor/v1/pipeline_service_pb.js';
import { RunService } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { RunValueService } from '@conveyor/protocol/conveyor/v1/run_value_service_pb.js';
import { ScheduleService } from '@conveyor/protocol/conveyor/v1/schedule_service_pb.js';
import { type GetServerInfoResponse, ServerService } from '@conveyor/protocol/conveyor/v1/server_service_pb.js';
import { withCallPolicy } from './call-policy.ts';
import type { CallOptions } from './call.ts';
import { type Drivers, createDrivers } from './drivers.ts';
import { type Jobs, createJobs } from './jobs.ts';
import { type Pipelines, createPipelines } from './pipelines.ts';
import { type Runs, createRuns } from './runs.ts';
import { type Schedules, createSchedules } from './schedules.ts';
import { type Values, createValues } from './values.ts';

/** How every call of a client is made. */
export interface ClientPolicy {
  /** The bearer token. Default: none is sent, which suits a transport that authenticates by itself. */
  readonly token?: string | undefined;
  /** The project. Default: `default`, by the server's choice. */
  readonly project?: string | undefined;
  /** The deadline of a call with one answer, over all its tries, in milliseconds; 0 is none. Default: 30,000. */
  readonly timeoutMs?: number | undefined;
  /** How often a call that broke is repeated, when that has no second effect. Default: 3. */
  readonly retries?: number | undefined;
}

/** How to make a client: the URL of the server's HTTP door, or any Connect transport. */
export type ClientOptions = ClientPolicy &
  (
    | { readonly address: string; readonly transport?: never }
    | { readonly transport: Transport; readonly address?: never }
  );

/** The API of a control plane. */
export interface Client {
  readonly pipelines: Pipelines;
  readonly runs: Runs;
  readonly jobs: Jobs;
  readonly schedules: Schedules;
  readonly values: Values;
  readonly drivers: Drivers;
  readonly server: {
    /** Reads the server's version, capabilities and limits. */
    info(options?: CallOptions): Promise<GetServerInfoResponse>;
  };
}

/**
 * Makes a client. It opens nothing until the first call and needs no closing.
 *
 * @example
 * const client = createClient({ address: 'http://127.0.0.1:8080', token });
 * const run = await client.runs.create({ pipeline: 'ci' });
 */
export function createClient(options: ClientOptions): Client {
  const transport = withCallPolicy(options.transport ?? httpTransport(options.address), {
    token: options.token,
    project: options.project ?? '',
    timeoutMs: options.timeoutMs ?? 30_000,
    retries: options.retries ?? 3,
  });
  const serverService = createServiceClient(ServerService, transport);
  return {
    pipelines: createPipelines(createServiceClient(PipelineService, transport)),
    runs: createRuns(createServiceClient(RunService, transport)),
    jobs: createJobs(createServiceClient(JobService, transport)),
    schedules: createSchedules(createServiceClient(ScheduleService, transport)),
    values: createValues(createServiceClient(RunValueService, transport)),
    drivers: createDrivers(createServiceClient(DriverService, transport)),
    server: { info: (callOptions) => serverService.getServerInfo({}, callOptions) },
  };
}

function httpTransport(address: string): Transport {
  return createConnectTransport({ baseUrl: address, useBinaryFormat: true, fetch: fetchOrUnavailable });
}

/** Fetch rejects only when there was no answer at all, but calls that a TypeError. */
const fetchOrUnavailable: typeof fetch = async (input, init) => {
  try {
    return await fetch(input, init);
  } catch (thrown) {
    if (init?.signal?.aborted) throw thrown;
    const cause = thrown instanceof Error && thrown.cause instanceof Error ? thrown.cause : thrown;
    throw new ConnectError(
      cause instanceof Error ? cause.message : 'no answer',
      Code.Unavailable,
      undefined,
      undefined,
      thrown,
    );
  }
};
