// Owns a way to the test server that can be cut, frozen and opened again, as networks are.
import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { Transform } from 'node:stream';
import type { ConnectionParts } from '../connection-options.ts';

export interface Proxy extends AsyncDisposable {
  /** The same database, by way of the proxy. */
  readonly connection: ConnectionParts;
  /** Breaks every connection and refuses new ones. */
  cut(): Promise<void>;
  /** Takes connections again, at the same port. */
  open(): Promise<void>;
  /** Keeps every connection up and silent: what is sent by either side stays in the proxy until `thaw`. */
  freeze(): void;
  thaw(): void;
  /** Breaks the connection on which the server says `text` next, before that is passed on. Resolves once it has. */
  breakAtReply(text: string): Promise<void>;
}

/** @param url Of a database, reached by host and port or by the directory of a unix socket. */
export async function startProxy(url: string): Promise<Proxy> {
  const { hostname, port, username, password, pathname } = new URL(url);
  const host = decodeURIComponent(hostname);
  const target = host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port: Number(port) };
  const sockets = new Set<Socket>();
  let breaking: { readonly text: string; readonly done: () => void } | undefined;

  /** Passes on what the server says, unless the connection is to break at it. */
  function replies(near: Socket): Transform {
    return new Transform({
      transform(chunk: Buffer, _encoding, pass) {
        if (breaking === undefined || !chunk.includes(breaking.text)) return pass(null, chunk);
        breaking.done();
        breaking = undefined;
        near.destroy();
      },
    });
  }

  const server = createServer((near) => {
    const far = createConnection(target);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from
        .on('error', () => undefined)
        .on('close', () => {
          sockets.delete(from);
          to.destroy();
        });
    }
    near.pipe(far);
    far.pipe(replies(near)).pipe(near);
  });

  async function listen(at: number): Promise<number> {
    server.listen(at, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  async function cut(): Promise<void> {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  }

  const ownPort = await listen(0);
  return {
    connection: {
      host: '127.0.0.1',
      port: ownPort,
      user: username,
      password: decodeURIComponent(password),
      database: pathname.slice(1),
    },
    cut,
    async open() {
      await listen(ownPort);
    },
    freeze() {
      for (const socket of sockets) socket.pause();
    },
    thaw() {
      for (const socket of sockets) socket.resume();
    },
    breakAtReply(text) {
      return new Promise((done) => {
        breaking = { text, done };
      });
    },
    [Symbol.asyncDispose]: cut,
  };
}
