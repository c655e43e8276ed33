// Owns the drivers of a scripted control plane: one instance, its queue, and the demand for it.
import type { startScriptedServer } from '@conveyor/client/testing';
import { DriverState } from '@conveyor/protocol/conveyor/v1/driver_pb.js';
import { DrainDeadline, DriverService } from '@conveyor/protocol/conveyor/v1/driver_service_pb.js';

type Router = Parameters<Parameters<typeof startScriptedServer>[0]>[0];

/** @param changes Calls that change something are added. */
export function serveDrivers(router: Router, changes: unknown[]): void {
  router.service(DriverService, {
    listDrivers: () => ({
      drivers: [{ name: 'shell', instance: 'host-1', state: DriverState.READY, slots: 4, held: 1 }],
    }),
    drainDrivers({ name, instance, undo, onDeadline }) {
      const evicts = onDeadline === DrainDeadline.EVICT;
      changes.push({ drain: name, instance, undo, evicts });
      const held = evicts ? 0 : 1;
      const drained = { name: 'shell', instance: 'host-1', state: DriverState.DRAINING, slots: 4, held };
      return { drivers: [drained], idle: evicts, evicted: 1 - held };
    },
    pauseQueue({ driver, pipeline, reason, actor }) {
      changes.push({ pauseQueue: driver, pipeline, reason, actor });
      return { pause: { driver, pipeline, reason, actor } };
    },
    resumeQueue({ driver, pipeline }) {
      changes.push({ resumeQueue: driver, pipeline });
      return { resumed: driver === 'shell' };
    },
    listQueues: () => ({
      queues: [
        { driver: 'busy', queued: 100_000 },
        { driver: 'shell', queued: 7, pauses: [{ driver: 'shell', actor: 'ana', reason: 'upgrade' }] },
      ],
    }),
    async *watchDemand({ drivers }, { signal }) {
      const shell = { driver: 'shell', queued: 2, paused: 1, instances: 1, slots: 4, freeSlots: 1, held: 3 };
      const required = [{ key: 'arch', values: ['arm64'] }];
      const demands = [{ driver: 'build', required, pool: 'gpu', queued: 10_000, moreQueued: true }, shell];
      const asked = demands.filter(({ driver }) => drivers.length === 0 || drivers.includes(driver));
      yield { changes: asked.map((demand) => ({ demand })), snapshotComplete: true };
      yield { changes: [{ demand: { ...shell, queued: 0, paused: 0, freeSlots: 4, held: 0 }, ended: true }] };
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    },
  });
}
