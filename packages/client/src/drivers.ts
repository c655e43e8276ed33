// Owns what a program can do with drivers: see them and drain them. Being one is the driver package's.
import type { Client as ServiceClient } from '@connectrpc/connect';
import type { Driver } from '@conveyor/protocol/conveyor/v1/driver_pb.js';
import { DrainDeadline, type DriverService } from '@conveyor/protocol/conveyor/v1/driver_service_pb.js';
import type { Queue, QueuePause } from '@conveyor/protocol/conveyor/v1/queue_pb.js';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { type CallOptions, required } from './call.ts';
import { type DemandUpdate, demandUpdates } from './demand.ts';
import { type ListOptions, paged } from './paging.ts';
import { resume, type WatchOptions } from './resume.ts';

/** Which driver instances. Default: all that are not gone. */
export interface DriverFilterInput {
  /** Only instances of this driver name. */
  readonly name?: string | undefined;
  /** Also instances that are gone. Default: false. */
  readonly includeGone?: boolean | undefined;
}

/** How to drain. */
export interface DrainInput {
  /** The instance's id; `*` stands for any characters. Default: every instance that is connected now. */
  readonly instance?: string | undefined;
  /** Take offers up again. Default: false. */
  readonly undo?: boolean | undefined;
  /** How long to wait for the instances to hold nothing, in milliseconds, at most an hour. Default: do not wait. */
  readonly waitMs?: number | undefined;
  /** Take away what they still hold then: it is LOST, which spends a retry, and tried again elsewhere. Default: false. */
  readonly evict?: boolean | undefined;
}

/** How a drain ended. */
export interface DrainResult {
  /** The first 1,000 of the instances, as they are then. */
  readonly drivers: Driver[];
  /** Whether none of the instances holds an attempt. */
  readonly idle: boolean;
  /** How many attempts were taken away. */
  readonly evicted: number;
}

/** Which jobs of a driver. Default: all. */
export interface QueueInput {
  /** Only jobs of this project. Default: with `pipeline` the project `default`, without it every project. */
  readonly project?: string | undefined;
  /** Only jobs of this pipeline. */
  readonly pipeline?: string | undefined;
}

/** Which demand. Default: all. */
export interface DemandInput {
  /** Only these driver names, at most 100. */
  readonly drivers?: readonly string[] | undefined;
}

/** Which queue to pause, and why. */
export interface PauseQueueInput extends QueueInput {
  /** Why, for people to read. */
  readonly reason?: string | undefined;
  /** Who asks, for people to read. */
  readonly actor?: string | undefined;
}

/** Driver instances. Every method throws ConveyorError, or the reason of the caller's signal. */
export interface Drivers {
  /** Driver instances by name and instance, without spec schemas. */
  list(filter?: DriverFilterInput, options?: ListOptions): AsyncIterable<Driver>;
  /** Reads one instance with its spec schema. Reason: DRIVER_NOT_FOUND. */
  get(name: string, instance: string, options?: CallOptions): Promise<Driver>;
  /**
   * Stops offers to the instances that are connected now, or takes them up again; what they hold goes on. In `name` `*` stands for any
   * characters. With `waitMs` the call has no deadline but its own. Reason: DRIVER_NOT_FOUND.
   */
  drain(name: string, input?: DrainInput, options?: CallOptions): Promise<DrainResult>;
  /** Stops offers of queued jobs of a driver name; what is offered or runs goes on. Reason: LIMIT_REACHED. */
  pauseQueue(driver: string, input?: PauseQueueInput, options?: CallOptions): Promise<QueuePause>;
  /** Takes a pause of exactly these names away. Returns whether there was one. */
  resumeQueue(driver: string, input?: QueueInput, options?: CallOptions): Promise<boolean>;
  /** The driver names that have queued jobs or are paused, by name. */
  queues(options?: ListOptions): AsyncIterable<Queue>;
  /**
   * Follows what is queued by driver name and by what the jobs ask of an instance, beside the instances that may take them: to start
   * drivers, also the first. The first update says how things stand, and each further one what has changed since, over reconnects.
   */
  watchDemand(filter?: DemandInput, options?: WatchOptions): AsyncIterable<DemandUpdate>;
}

export function createDrivers(rpc: ServiceClient<typeof DriverService>): Drivers {
  return {
    list: ({ name = '', includeGone = false } = {}, options = {}) =>
      paged(async (page) => {
        const { drivers, nextPageToken } = await rpc.listDrivers({ name, includeGone, ...page }, options);
        return { items: drivers, nextPageToken };
      }, options),
    get: async (name, instance, options) => required((await rpc.getDriver({ name, instance }, options)).driver),
    async drain(name, { instance = '', undo = false, waitMs, evict = false } = {}, options) {
      const request = { name, instance, undo, onDeadline: evict ? DrainDeadline.EVICT : DrainDeadline.UNSPECIFIED };
      if (waitMs === undefined) return rpc.drainDrivers(request, options);
      return rpc.drainDrivers({ ...request, waitTimeout: durationFromMs(waitMs) }, { timeoutMs: 0, ...options });
    },
    async pauseQueue(driver, { project = '', pipeline = '', reason = '', actor = '' } = {}, options) {
      return required((await rpc.pauseQueue({ driver, project, pipeline, reason, actor }, options)).pause);
    },
    async resumeQueue(driver, { project = '', pipeline = '' } = {}, options) {
      return (await rpc.resumeQueue({ driver, project, pipeline }, options)).resumed;
    },
    queues: (options = {}) =>
      paged(async (page) => {
        const { queues, nextPageToken } = await rpc.listQueues(page, options);
        return { items: queues, nextPageToken };
      }, options),
    watchDemand: ({ drivers = [] } = {}, options = {}) => resume(demandUpdates(rpc, drivers), options),
  };
}
