// Opens sessions: from a Hello to a session that is registered, with what its takeover settled.
import { RefusedError, isRefusal, type Refusal } from '../core/refusal.ts';
import { LIMITS } from '../core/limits.ts';
import { dropLeases, setDraining, setSlots } from '../store/instance-rows.ts';
import { withConnection } from '../store/pool.ts';
import type { AppendCheck } from './append-check.ts';
import type { Background } from './background.ts';
import type { DriverOperations } from './driver-operations.ts';
import type { Fit } from './fit.ts';
import type { Hints } from './hints.ts';
import type { Leases } from './leases.ts';
import type { Log } from './log.ts';
import type { LogWriter } from './log-writer.ts';
import type { OutputsCheck } from './outputs-check.ts';
import { giveUp } from './rescue.ts';
import type { RunValues } from './run-values.ts';
import { createSession, type Session } from './session.ts';
import type { Sessions } from './sessions.ts';
import { takeOverInstance, type TakeoverOptions } from './takeover.ts';

export interface DriverSessionsOptions extends TakeoverOptions {
  readonly sessions: Sessions;
  readonly leases: Leases;
  readonly logWriter: LogWriter;
  readonly checkOutputs: OutputsCheck;
  readonly values: Pick<RunValues, 'readFor' | 'changeFor'>;
  readonly checkAppended: AppendCheck;
  /** Why nothing may be appended to runs now. */
  readonly whyTooOld: (version: number) => Refusal | undefined;
  readonly background: Background;
  readonly fit: Fit;
  readonly hints: Hints;
  readonly log: Log;
  readonly wake: (driver: string) => void;
  /** True from the moment that the server stops. */
  readonly stopping: () => boolean;
}

export function createDriverSessions(options: DriverSessionsOptions): Pick<DriverOperations, 'openSession'> {
  const { pool, sessions, ledger, logWriter, background, fit, hints, log } = options;

  return {
    async openSession(principal, hello, link) {
      if (options.stopping()) throw new RefusedError(STOPPING);
      if (sessions.count() >= LIMITS.sessions) throw new RefusedError(noRoom());
      const taken = await takeOverInstance(options, principal, hello);
      if (isRefusal(taken)) throw new RefusedError(taken);
      const { facts, welcome, givenUp } = taken;
      const { writer, driver } = facts;
      const session: Session = createSession({
        facts,
        link,
        ledger,
        logWriter,
        maxLogBytes: options.maxLogBytes,
        background,
        log,
        composeStart: options.composeStart,
        checkOutputs: options.checkOutputs,
        values: options.values,
        checkAppended: options.checkAppended,
        whyTooOld: options.whyTooOld,
        capabilities: options.capabilities,
        renew: (beating, seq) => options.leases.renew(beating, seq),
        store: (change) =>
          withConnection(pool, async (tx) => {
            if (change.slots !== undefined) await setSlots(tx, writer, change.slots);
            if (change.draining === true) await setDraining(tx, writer);
          }),
        onRoom: () => options.wake(driver),
        onReturned: (key) => fit.returned(session, key),
        onEnd: (ended) => sessions.remove(ended),
        dropLease: () => withConnection(pool, (tx) => dropLeases(tx, [writer])),
      });
      // Before anything else is said, so that an offer cannot come first.
      link.send({ type: 'Welcome', ...welcome });
      // Before it gets offers: until then what it gave up takes its slots.
      if (givenUp.length > 0) await giveUp(ledger, givenUp, writer, 'its driver connected again without it');
      sessions.add(session);
      options.wake(driver);
      // A cancel that no verdict can tell of, or that was committed since they were made.
      if (facts.held.length > 0) background.run(() => sessions.compare(new Set([writer.instance])));
      // Another replica may hold the session that this one replaces.
      hints.tell(`instance:${writer.instance}`);
      return session;
    },
  };
}

export const STOPPING: Refusal = {
  refused: 'SERVER_STOPPING',
  message: 'this replica is stopping: connect to another one with what is held',
};

function noRoom(): Refusal {
  const message = `this replica has ${LIMITS.sessions} sessions already: connect to another one`;
  return { refused: 'LIMIT_REACHED', message };
}
