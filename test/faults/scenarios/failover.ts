// A primary that is lost or stops taking writes, and another that takes its place at the same address.
import type { TestDatabase } from '../../../packages/server/src/store/testing/database.ts';
import { type PostgresProxy, startPostgresProxy } from '../../../packages/server/src/store/testing/postgres-proxy.ts';
import { monotonicMs } from '../../bench/monotonic-clock.ts';
import { type PrimaryAndStandby, socketOf, startPrimaryAndStandby, urlOf } from '../../e2e/standby.ts';
import type { Fault } from '../fault.ts';
import { limitPassed, lostAttempts } from '../sessions.ts';
import { refusedSince, untilRefused } from '../told.ts';

/** Until the service resumes after the database has (P7). */
export const RESUMES_WITHIN_MS = 10_000;

/** The pair of the scenario that is played, behind the address that everybody knows. */
interface Pair {
  readonly servers: PrimaryAndStandby;
  readonly front: PostgresProxy;
}

function newPrimary(): Fault {
  let pair: Pair | undefined;

  async function openDatabase(directory: string): Promise<TestDatabase> {
    const servers = await startPrimaryAndStandby(directory);
    const front = await startPostgresProxy(urlOf(servers.primary));
    pair = { servers, front };
    return {
      config: { connection: front.url, schema: 'conveyor' },
      async [Symbol.asyncDispose]() {
        await front[Symbol.asyncDispose]();
        await servers[Symbol.asyncDispose]();
      },
    };
  }

  return {
    name: 'new-primary',
    says: 'the primary dies, its address leads to a standby that takes no writes yet, and then does',
    scene: { openDatabase },
    async strike(stage) {
      if (pair === undefined) throw new Error('the scene has not been set');
      const { servers, front } = pair;
      const beganMs = monotonicMs();
      await servers.killPrimary();
      front.lead(socketOf(servers.standby));
      front.sever();
      await untilRefused(stage, beganMs);
      const fired = refusedSince(stage, beganMs);
      await servers.promote();
      const recoveryMs = await stage.recovery(monotonicMs());
      const lost = await lostAttempts(stage);
      return {
        fired,
        recoveryMs,
        complaints: [
          ...limitPassed('service after the promotion', recoveryMs, RESUMES_WITHIN_MS),
          ...(lost === 0 ? [] : [`${lost} attempts were spent`]),
        ],
      };
    },
  };
}

export const failoverFaults: readonly Fault[] = [newPrimary()];
