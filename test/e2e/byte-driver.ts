// A driver's stream as plain bytes over HTTP/2, for what no gRPC library would send.
import { once } from 'node:events';
import { connect } from 'node:http2';
import { DriverService } from '@conveyor/protocol/conveyor/v1/driver_service_pb.js';

/** Disposing it breaks the connection. */
export interface ByteStream extends Disposable {
  /** Sends bytes as they are, and waits for room when there is none. */
  write(bytes: Uint8Array): Promise<void>;
  isOver(): boolean;
  /** The gRPC status, once the server has ended the stream; empty when it did so without one. */
  readonly ended: Promise<{ readonly status: string }>;
}

export async function openByteStream(address: string, token: string, encoding = 'identity'): Promise<ByteStream> {
  const connection = connect(`http://${address}`);
  connection.on('error', () => undefined);
  await once(connection, 'connect');
  const stream = connection.request({
    ':method': 'POST',
    ':path': `/${DriverService.typeName}/${DriverService.method.session.name}`,
    'content-type': 'application/grpc',
    'grpc-encoding': encoding,
    te: 'trailers',
    authorization: `Bearer ${token}`,
  });
  const end = Promise.withResolvers<{ status: string }>();
  let over = false;
  let status = '';
  const note = (headers: object): void => {
    const found = Object.entries(headers).find(([name]) => name === 'grpc-status');
    if (found !== undefined) status = String(found[1]);
  };
  stream.on('response', note);
  stream.on('trailers', note);
  stream.on('error', () => undefined);
  stream.on('end', finish);
  stream.on('close', finish);
  stream.resume();

  function finish(): void {
    over = true;
    end.resolve({ status });
  }

  return {
    async write(bytes) {
      if (over || stream.destroyed || stream.writableEnded || stream.write(bytes)) return;
      await Promise.race([once(stream, 'drain'), end.promise]).catch(() => undefined);
    },
    isOver: () => over,
    ended: end.promise,
    [Symbol.dispose]: () => connection.destroy(),
  };
}
