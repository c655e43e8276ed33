// Owns the gRPC channels of a driver: what an address means, and one client for each, made when it is first tried.
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

/** A replica of the control plane. */
export interface Endpoint {
  /** `HOST:PORT`. */
  readonly target: string;
  /** Whether it is spoken to over TLS. */
  readonly secure: boolean;
}

/** Opens session streams at any of several replicas. */
export interface Connections {
  open(endpoint: Endpoint): SessionStream;
  close(): void;
}

/**
 * What `address` means: `grpc://` is plain text, `grpcs://` is TLS, and what has no scheme is what `tls` says.
 * Throws a RangeError when it is neither.
 */
export function parseEndpoint(address: string, tls: TlsOptions | undefined): Endpoint {
  const [, scheme, target] = /^(?:(grpcs?):\/\/)?([^\s/,]+:\d+)\/?$/.exec(address) ?? [];
  if (target === undefined) {
    throw new RangeError(
      `'${address}' is no address of a control plane: write HOST:PORT, or grpcs://HOST:PORT for TLS`,
    );
  }
  return { target, secure: scheme === undefined ? tls !== undefined : scheme === 'grpcs' };
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
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return {
    open({ target, secure }) {
      const key = `${secure} ${target}`;
      let client = clients.get(key);
      if (client === undefined) {
        // A proxy of the environment leads out of this machine, never to it.
        const options = { ...channelOptions, 'grpc.enable_http_proxy': isLoopback(target) ? 0 : 1 };
        client = new Client(target, secure ? toCredentials(tls) : credentials.createInsecure(), options);
        clients.set(key, client);
      }
      return client.makeBidiStreamRequest(sessionPath, passThrough, decodeResponse, metadata);
    },
    close() {
      for (const client of clients.values()) client.close();
    },
  };
}

function isLoopback(target: string): boolean {
  return /^(127\.|localhost:|\[::1\])/.test(target);
}

function toCredentials({ rootCertificates, privateKey, certificateChain }: TlsOptions = {}): ChannelCredentials {
  return credentials.createSsl(rootCertificates, privateKey, certificateChain);
}

function passThrough(message: Buffer): Buffer {
  return message;
}

function decodeResponse(bytes: Buffer): SessionResponse {
  return fromBinary(SessionResponseSchema, bytes);
}
