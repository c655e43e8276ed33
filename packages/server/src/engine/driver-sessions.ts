// Opens sessions and drains drivers: what of the driver operations changes something.
import { RefusedError, isRefusal, type Refusal } from '../core/refusal.ts';
import { LIMITS } from '../core/limits.ts';
import { dropLeases, setDraining, setSlots } from '../store/instance-rows.ts';
import { liveAttempts } from '../store/attempt-rows.ts';
import { withConnection } from '../store/pool.ts';
import type { Background } from './background.ts';
import type { DriverOperations } from './engine.ts';
import type { Fit } from './fit.ts';
import type { Hints } from './hints.ts';
import type { Leases } from './leases.ts';
import type { Log } from './log.ts';
import type { LogWriter } from './log-writer.ts';
import { noSuchDriver } from './refusals.ts';
import { giveUp } from './rescue.ts';
import { createSession, type Session } from './session.ts';
import type { Sessions } from './sessions.ts';
import { takeOverInstance, type TakeoverOptions } from './takeover.ts';
import { setTimeout as delay } from 'node:timers/promises';

const IDLE_POLL_MS = 250;

export interface DriverSessionsOptions extends TakeoverOptions {
  readonly sessions: Sessions;
  readonly leases: Leases;
  readonly logWriter: LogWriter;
  readonly background: Background;
  readonly fit: Fit;
  readonly hints: Hints;
  readonly log: Log;
  readonly queries: Pick<DriverOperations, 'list' | 'get'>;
  readonly wake: (driver: string) => void;
  /** True from the moment that the server stops. */
  readonly stopping: () => boolean;
}

export function createDriverSessions(options: DriverSessionsOptions): Pick<DriverOperations, 'openSession' | 'drain'> {
  const { pool, sessions, ledger, logWriter, background, fit, hints, log } = options;

  return {
    async openSession(principal, hello, link) {
      if (options.stopping()) throw new RefusedError(STOPPING);
      if (sessions.count() >= LIMITS.sessions) throw new RefusedError(noRoom());
      const taken = await takeOverInstance(options, principal, hello);
      if (isRefusal(taken)) throw new RefusedError(taken);
      const { facts, welcome, givenUp } = taken;
      const { writer, driver, instance } = facts;
      const session: Session = createSession({
        facts,
        link,
        ledger,
        logWriter,
        background,
        log,
        composeStart: options.composeStart,
        renew: (beating, seq) => options.leases.renew(beating, seq),
        store: (change) =>
          withConnection(pool, async (tx) => {
            if (change.slots !== undefined) await setSlots(tx, writer, change.slots);
            if (change.draining === true) await setDraining(tx, driver, instance, true);
          }),
        onRoom: () => options.wake(driver),
        onReturned: (key) => fit.returned(session, key),
        onEnd: (ended) => sessions.remove(ended),
        dropLease: () => withConnection(pool, (tx) => dropLeases(tx, [writer])),
      });
      // Before anything else is said, so that an offer cannot come first.
      link.send({ type: 'Welcome', ...welcome });
      sessions.add(session);
      options.wake(driver);
      if (givenUp.length > 0) {
        const message = 'its driver connected again without it';
        background.run(() => giveUp(ledger, givenUp, () => writer, message));
      }
      // Another replica may hold the session that this one replaces.
      hints.tell(`instance:${writer.instance}`);
      return session;
    },

    async drain(name, instance, undo, waitMs, signal) {
      const numbers = await withConnection(pool, (tx) => setDraining(tx, name, instance, !undo));
      if (numbers.length === 0) throw noSuchDriver(name, instance);
      for (const number of numbers) hints.tell(`instance:${number}`);
      await sessions.compare(new Set(numbers));
      const deadlineMs = performance.now() + (waitMs ?? 0);
      let idle = await holdNothing(numbers);
      while (!idle && performance.now() < deadlineMs && !signal.aborted) {
        await delay(IDLE_POLL_MS, undefined, { signal }).catch(() => undefined);
        idle = await holdNothing(numbers);
      }
      const { items } = await options.queries.list({ name, includeGone: false }, { size: 1_000 });
      const drivers = items.filter((driver) => instance === undefined || driver.instance === instance);
      return { drivers, idle };
    },
  };

  async function holdNothing(numbers: readonly number[]): Promise<boolean> {
    return (await withConnection(pool, (tx) => liveAttempts(tx, numbers))).length === 0;
  }
}

export const STOPPING: Refusal = {
  refused: 'SERVER_STOPPING',
  message: 'this replica is stopping: connect to another one with what is held',
};

function noRoom(): Refusal {
  const message = `this replica has ${LIMITS.sessions} sessions already: connect to another one`;
  return { refused: 'LIMIT_REACHED', message };
}
