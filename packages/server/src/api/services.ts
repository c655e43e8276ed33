// The services of the contract with their implementations: what every door serves.
import type { DescService } from '@bufbuild/protobuf';
import type { ConnectRouter, ServiceImpl } from '@connectrpc/connect';
import { DriverService } from '@conveyor/protocol/conveyor/v1/driver_service_pb.js';
import { JobService } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import { PipelineService } from '@conveyor/protocol/conveyor/v1/pipeline_service_pb.js';
import { RunService } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { RunValueService } from '@conveyor/protocol/conveyor/v1/run_value_service_pb.js';
import { ScheduleService } from '@conveyor/protocol/conveyor/v1/schedule_service_pb.js';
import { ServerService } from '@conveyor/protocol/conveyor/v1/server_service_pb.js';
import type { Engine } from '../engine/engine.ts';
import { createDriverService } from './driver-service.ts';
import { createJobService } from './job-service.ts';
import { createPipelineService } from './pipeline-service.ts';
import { createRunService } from './run-service.ts';
import { createRunValueService } from './run-value-service.ts';
import { createScheduleService } from './schedule-service.ts';
import { createServerService } from './server-service.ts';

export const SERVICES: readonly DescService[] = [
  PipelineService,
  RunService,
  JobService,
  RunValueService,
  ScheduleService,
  DriverService,
  ServerService,
];

/** Takes one service after another. */
export type Register = <S extends DescService>(service: S, implementation: ServiceImpl<S>) => void;

export type RegisterServices = (register: Register) => void;

/** Makes the implementations once; each door then registers them in its own way. */
export function createServices(engine: Engine, version: string): RegisterServices {
  const pipelines = createPipelineService(engine);
  const runs = createRunService(engine);
  const jobs = createJobService(engine);
  const values = createRunValueService(engine);
  const schedules = createScheduleService(engine);
  const drivers = createDriverService(engine);
  const server = createServerService(engine, version);
  return (register) => {
    register(PipelineService, pipelines);
    register(RunService, runs);
    register(JobService, jobs);
    register(RunValueService, values);
    register(ScheduleService, schedules);
    register(DriverService, drivers);
    register(ServerService, server);
  };
}

/** Registers the services with a Connect router. */
export function routeServices(registerServices: RegisterServices): (router: ConnectRouter) => void {
  return (router) => registerServices((service, implementation) => router.service(service, implementation));
}
