// Owns the following of demand: all that there is now, kept up over reconnects. A stream that is opened again begins with all of it
// again, of which only what is new is passed on.
import { create, equals } from '@bufbuild/protobuf';
import type { Client as ServiceClient } from '@connectrpc/connect';
import { type Demand, DemandSchema } from '@conveyor/protocol/conveyor/v1/demand_pb.js';
import type { DriverService, WatchDemandResponse } from '@conveyor/protocol/conveyor/v1/driver_service_pb.js';
import { required } from './call.ts';
import type { ResumableSource } from './resume.ts';

/** What a watch of demand says: first how things stand, then each time that something has changed. */
export interface DemandUpdate {
  /** All demand as it is now, by driver name. What is not there has ended: nothing of it is queued. */
  readonly demands: readonly Demand[];
  /** What is new of it, those that have ended included. */
  readonly changes: readonly { readonly demand: Demand; readonly ended: boolean }[];
}

/** Demand for drivers, or for all of them when none is named. Never complete. */
export function demandUpdates(
  rpc: ServiceClient<typeof DriverService>,
  drivers: readonly string[],
): ResumableSource<WatchDemandResponse, DemandUpdate> {
  let known: ReadonlyMap<string, Demand> | undefined;
  // What this stream has said. Before its snapshot is complete it says nothing of what has ended.
  let said = new Map<string, Demand>();
  let isComplete = false;
  return {
    open(signal) {
      said = new Map();
      isComplete = false;
      return rpc.watchDemand({ drivers: [...drivers] }, { signal });
    },
    read(message) {
      const ended = new Map<string, Demand>();
      for (const change of message.changes) {
        const demand = required(change.demand);
        const key = keyOf(demand);
        if (change.ended) {
          said.delete(key);
          ended.set(key, demand);
        } else {
          said.set(key, demand);
        }
      }
      isComplete ||= message.snapshotComplete;
      if (!isComplete) return [];
      const changes = changesBetween(known ?? new Map(), said, ended);
      if (known !== undefined && changes.length === 0) return [];
      known = new Map(said);
      return [{ demands: [...known.values()].toSorted(byDriver), changes }];
    },
    isComplete: () => false,
  };
}

/** @param ended How those that have ended are, if the server said it; else they are all zeros. */
function changesBetween(
  before: ReadonlyMap<string, Demand>,
  after: ReadonlyMap<string, Demand>,
  ended: ReadonlyMap<string, Demand>,
): DemandUpdate['changes'] {
  const gone = [...before].flatMap(([key, { driver, required: rules, pool }]) =>
    after.has(key)
      ? []
      : { demand: ended.get(key) ?? create(DemandSchema, { driver, required: rules, pool }), ended: true },
  );
  const changed = [...after].flatMap(([key, demand]) => {
    const was = before.get(key);
    return was !== undefined && equals(DemandSchema, was, demand) ? [] : { demand, ended: false };
  });
  return [...gone, ...changed];
}

function keyOf({ driver, required: rules, pool }: Demand): string {
  return JSON.stringify([driver, pool, rules.map(({ key, operator, values }) => [key, operator, values])]);
}

function byDriver({ driver: one }: Demand, { driver: other }: Demand): number {
  return one < other ? -1 : one > other ? 1 : 0;
}
