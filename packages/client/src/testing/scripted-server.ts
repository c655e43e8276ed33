// Owns a control plane for tests that says what a script tells it to: the real protocols on real sockets, both doors.
import { type Server as HttpServer, createServer as createHttpServer } from 'node:http';
import { type Http2Server, createServer as createHttp2Server } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import type { ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';

/** A scripted server that listens on free ports of this machine. */
export interface ScriptedServer extends AsyncDisposable {
  /** `HOST:PORT` of the native gRPC door. */
  readonly grpcAddress: string;
  /** URL of the HTTP door. */
  readonly httpAddress: string;
  /** Cuts every connection, as a crash or a network would. */
  cutConnections(): void;
}

/** Starts a server of the services that `routes` adds. */
export async function startScriptedServer(routes: (router: ConnectRouter) => void): Promise<ScriptedServer> {
  const handler = connectNodeAdapter({ routes });
  const servers = [createHttp2Server(handler), createHttpServer(handler)] as const;
  const sockets = new Set<Socket>();
  const [grpcPort, httpPort] = await Promise.all(servers.map((server) => listen(server, sockets)));
  const cutConnections = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    grpcAddress: `127.0.0.1:${grpcPort}`,
    httpAddress: `http://127.0.0.1:${httpPort}`,
    cutConnections,
    async [Symbol.asyncDispose]() {
      const closed = servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
      cutConnections();
      await Promise.all(closed);
    },
  };
}

function listen(server: HttpServer | Http2Server, sockets: Set<Socket>): Promise<number> {
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}
