// The HTTP door: HTTP/1.1 in plaintext, HTTP/2 and HTTP/1.1 over TLS.
import { createServer, type Server } from 'node:http';
import { createSecureServer, type Http2SecureServer, type ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import {
  checkOptions,
  CLOSE_GRACE_MS,
  type Door,
  type DoorOptions,
  formatAddress,
  type HostPort,
  listenError,
} from '../door.ts';
import type { RequestListener } from './request-listener.ts';

/** As HTTP counts a header list; the same for both versions. */
const MAX_HEADER_BYTES = 16_384;
const MAX_STREAMS = 1_000;

/** @throws DoorError */
export async function openHttpDoor(listener: RequestListener, options: DoorOptions): Promise<Door> {
  const wanted = checkOptions(options);
  const { server, close, cutOff } = options.tls === undefined ? plain(listener) : secure(listener, options.tls);
  const port = await listen(server, wanted);
  return {
    address: formatAddress({ host: wanted.host, port }),
    async [Symbol.asyncDispose]() {
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      close();
      const timer = setTimeout(cutOff, CLOSE_GRACE_MS);
      await promise;
      clearTimeout(timer);
    },
  };
}

interface Listening {
  readonly server: Server | Http2SecureServer;
  /** Closes connections as soon as nothing is in flight on them. */
  readonly close: () => void;
  /** Closes connections whatever is in flight on them. */
  readonly cutOff: () => void;
}

function plain(listener: RequestListener): Listening {
  const server = createServer({ maxHeaderSize: MAX_HEADER_BYTES }, listener);
  let isClosing = false;
  server.prependListener('request', (_, response) => {
    // A connection is idle a moment after its response is closed.
    response.once('close', () => isClosing && setImmediate(() => server.closeIdleConnections()));
  });
  return {
    server,
    close() {
      isClosing = true;
      server.closeIdleConnections();
    },
    cutOff: () => server.closeAllConnections(),
  };
}

function secure(listener: RequestListener, { cert, key }: NonNullable<DoorOptions['tls']>): Listening {
  const settings = { maxHeaderListSize: MAX_HEADER_BYTES, maxConcurrentStreams: MAX_STREAMS };
  const server = createSecureServer({ cert, key, allowHTTP1: true, settings }, listener);
  const sessions = new Set<ServerHttp2Session>();
  const sockets = new Set<Socket>();
  server.on('session', (session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
  });
  server.on('secureConnection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return {
    server,
    close() {
      for (const session of sessions) session.close();
    },
    cutOff() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

function listen(server: Server | Http2SecureServer, address: HostPort): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const onError = (error: Error): void => reject(listenError(address, error));
  server.once('error', onError);
  server.listen(address.port, address.host, () => {
    server.off('error', onError);
    const bound = server.address();
    resolve(typeof bound === 'object' && bound !== null ? bound.port : address.port);
  });
  return promise;
}
