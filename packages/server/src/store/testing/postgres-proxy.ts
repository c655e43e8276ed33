// Owns a proxy that understands enough of PostgreSQL's protocol to see a COMMIT go by and its reply come back, so that a fault can be
// placed exactly before, between or after them.
import type { ConnectionParts } from '../connection-options.ts';
import { applicationName, completedCommand, createSplitter, isCommit, isNotice } from './postgres-messages.ts';
import { type Proxy, startProxy, type Tap, type TappedConnection, type Target } from './proxy.ts';

/**
 * `before`: PostgreSQL has not seen the COMMIT and never will. `unanswered`: it has committed, and nobody is told. `answered`: the
 * reply was passed on. At the first two the connection is broken afterwards.
 */
export type CommitPoint = 'before' | 'unanswered' | 'answered';

export interface CommitTrap {
  readonly point: CommitPoint;
  /** Which connections: those of one lane, by its name. Default: any. */
  readonly lane?: string;
  /** What happens there, while the connection is held. Default: nothing. */
  readonly act?: () => Promise<unknown> | void;
}

export interface PostgresProxy extends Proxy {
  /** The same database, by way of the proxy. */
  readonly connection: ConnectionParts;
  /** The same as a URL. */
  readonly url: string;
  /** Sets a trap for the next COMMIT. Resolves once it has caught one and its act is done. One trap at a time. */
  atCommit(trap: CommitTrap): Promise<void>;
  /** Whether notices of LISTEN are swallowed. */
  muteNotices(muted: boolean): void;
  /** How many notices were swallowed. */
  mutedNotices(): number;
}

interface SetTrap extends CommitTrap {
  readonly done: () => void;
}

/** @param url Of a database, reached by host and port or by the directory of a unix socket. */
export async function startPostgresProxy(url: string): Promise<PostgresProxy> {
  let trap: SetTrap | undefined;
  let muted = false;
  let mutedNotices = 0;

  function tap(connection: TappedConnection): Tap {
    let name: string | undefined;
    let caught: SetTrap | undefined;
    const asked = createSplitter('client');
    const told = createSplitter('server');

    function takeTrap(): SetTrap | undefined {
      const taken = trap?.lane === undefined || name === `conveyor ${trap.lane}` ? trap : undefined;
      if (taken !== undefined) trap = undefined;
      return taken;
    }

    /** Takes back a trap whose transaction did not commit. */
    function takeBack(): void {
      trap = caught;
      caught = undefined;
    }

    async function spring({ act, done }: SetTrap, breaks: boolean): Promise<void> {
      caught = undefined;
      await act?.();
      if (breaks) connection.break();
      done();
    }

    return {
      async inward(chunk, pass) {
        for (const message of asked(chunk)) {
          name ??= applicationName(message);
          if (isCommit(message)) caught = takeTrap();
          if (caught?.point === 'before') return await spring(caught, true);
          pass(message);
        }
      },
      async outward(chunk, pass) {
        for (const message of told(chunk)) {
          if (muted && isNotice(message)) {
            mutedNotices++;
            continue;
          }
          const completed = caught === undefined ? undefined : completedCommand(message);
          if (caught?.point === 'unanswered' && completed === 'COMMIT') return await spring(caught, true);
          pass(message);
          if (completed === 'ROLLBACK') takeBack();
          else if (caught !== undefined && completed === 'COMMIT') await spring(caught, false);
        }
      },
    };
  }

  const { hostname, port, username, password, pathname } = new URL(url);
  const host = decodeURIComponent(hostname);
  const target: Target = host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port: Number(port) };
  const proxy = await startProxy(target, { tap });
  const database = pathname.slice(1);
  return {
    ...proxy,
    connection: {
      host: '127.0.0.1',
      port: proxy.port,
      user: username,
      password: decodeURIComponent(password),
      database,
    },
    url: `postgres://${username}:${password}@${proxy.address}/${database}`,
    atCommit: (set) => new Promise((done) => (trap = { ...set, done })),
    muteNotices(mute) {
      muted = mute;
    },
    mutedNotices: () => mutedNotices,
  };
}
