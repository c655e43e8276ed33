// Owns the gRPC channels of a driver: one client for each address, made when it is first tried.
import {
  type ChannelCredentials,
  type ChannelOptions,
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
} from '@grpc/grpc-js';
import { fromBinary } from '@bufbuild/protobuf';
import { DriverService } from '@conveyor/protocol/conveyor/v1/driver_service_pb.js';
import { type SessionResponse, SessionResponseSchema } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';

/** How to prove who the control plane is, and to it who the driver is. All in PEM. */
export interface TlsOptions {
  /** Certificates to trust. Default: those of the system. */
  readonly rootCertificates?: Buffer;
  /** Certificate chain of the driver; needs `privateKey`. Default: none. */
  readonly certificateChain?: Buffer;
  /** Private key of the driver. Default: none. */
  readonly privateKey?: Buffer;
}

/** A stream of session messages, requests already encoded. */
export type SessionStream = ClientDuplexStream<Buffer, SessionResponse>;

/** Opens session streams at any of several addresses. */
export interface Connections {
  open(address: string): SessionStream;
  close(): void;
}

const sessionPath = `/${DriverService.typeName}/${DriverService.method.session.name}`;

const channelOptions: ChannelOptions = {
  'grpc-node.flow_control_window': 1024 * 1024,
  'grpc.max_receive_message_length': 4 * 1024 * 1024,
  // A frozen server is found by an unanswered ping.
  'grpc.keepalive_time_ms': 5_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2_000,
  // A session is opened again by us, with what is held by then; the channel must not repeat what was sent.
  'grpc.enable_retries': 0,
};

export function createConnections(token: string, tls: TlsOptions | undefined): Connections {
  const clients = new Map<string, Client>();
  const channelCredentials = toCredentials(tls);
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return {
    open(address) {
      let client = clients.get(address);
      if (client === undefined) {
        // A proxy of the environment leads out of this machine, never to it.
        const options = { ...channelOptions, 'grpc.enable_http_proxy': isLoopback(address) ? 0 : 1 };
        client = new Client(address, channelCredentials, options);
        clients.set(address, client);
      }
      return client.makeBidiStreamRequest(sessionPath, passThrough, decodeResponse, metadata);
    },
    close() {
      for (const client of clients.values()) client.close();
    },
  };
}

function isLoopback(address: string): boolean {
  return /^(127\.|localhost:|\[::1\])/.test(address);
}

function toCredentials(tls: TlsOptions | undefined): ChannelCredentials {
  if (tls === undefined) return credentials.createInsecure();
  return credentials.createSsl(tls.rootCertificates, tls.privateKey, tls.certificateChain);
}

function passThrough(message: Buffer): Buffer {
  return message;
}

function decodeResponse(bytes: Buffer): SessionResponse {
  return fromBinary(SessionResponseSchema, bytes);
}
