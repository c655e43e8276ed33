// Owns a way to the server that can be cut: every connection through it breaks at once, and new ones get through again.
import { once } from 'node:events';
import { type AddressInfo, type Socket, connect, createServer } from 'node:net';

export interface SeverableProxy extends AsyncDisposable {
  /** HOST:PORT. */
  readonly address: string;
  /** Breaks every connection. Returns how many there were. */
  sever(): number;
}

export async function startProxy(target: string): Promise<SeverableProxy> {
  const [host = '', port = ''] = target.split(':');
  const sockets = new Set<Socket>();
  const server = createServer((inward) => {
    const outward = connect(Number(port), host);
    for (const [socket, other] of [
      [inward, outward],
      [outward, inward],
    ] as const) {
      socket.pipe(other);
      socket.on('error', () => other.destroy()).on('close', () => other.destroy());
    }
    sockets.add(inward);
    inward.once('close', () => sockets.delete(inward));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sever = (): number => {
    const open = [...sockets];
    for (const socket of open) socket.resetAndDestroy();
    return open.length;
  };
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    sever,
    async [Symbol.asyncDispose]() {
      server.close();
      sever();
      await once(server, 'close');
    },
  };
}
