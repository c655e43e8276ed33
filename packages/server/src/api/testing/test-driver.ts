// A driver's side of a session over a real gRPC stream, and an engine's side that remembers what reached it.
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  type DriverFrameSchema,
  type HelloSchema,
  type ServerFrame as ServerFrameMessage,
  SessionRequestSchema,
  SessionResponseSchema,
} from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { StatusSchema } from '@conveyor/protocol/google/rpc/status_pb.js';
import { BadRequestSchema, ErrorInfoSchema } from '@conveyor/protocol/google/rpc/error_details_pb.js';
import { Client, type ClientDuplexStream, credentials, Metadata, type StatusObject } from '@grpc/grpc-js';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import type { DriverFrame, Hello, Welcome } from '../../core/frames.ts';
import type { DriverOperations, SessionLink } from '../../engine/driver-operations.ts';
import type { Principal } from '../../engine/engine.ts';
import { DRIVER_TOKEN } from './test-engine.ts';

const PATH = '/conveyor.v1.DriverService/Session';
const INFO_PATH = '/conveyor.v1.ServerService/GetServerInfo';

export const WELCOME: Welcome = {
  sessionId: 's-1',
  epoch: 3,
  leaseMs: 30_000,
  heartbeatMs: 5_000,
  attemptLogWindow: 1_048_576,
  sessionLogWindow: 8_388_608,
  maxMessageBytes: 1_048_576,
  maxLogBytes: 1_073_741_824,
  capabilities: ['values'],
  verdicts: [],
  orphans: [],
};

export const HELLO: MessageInitShape<typeof HelloSchema> = {
  protocolVersion: 1,
  driver: 'shell',
  instanceId: 'shell-1',
  incarnation: new Uint8Array(16).fill(7),
  slots: 4,
};

export type FrameInit = NonNullable<MessageInitShape<typeof DriverFrameSchema>['frame']>;

export interface EndedWith {
  readonly code: number;
  readonly message: string;
  readonly reason: string | undefined;
  readonly violations: readonly { field: string; description: string }[];
}

export interface TestDriver {
  /** Sends frames in one message. */
  say(...frames: FrameInit[]): void;
  /** Sends bytes as they are. */
  sayBytes(bytes: Uint8Array): void;
  /** Every frame heard so far. */
  readonly heard: ServerFrameMessage['frame'][];
  /** How many messages they came in. */
  readonly messages: number[];
  /** How the stream ended. */
  readonly ended: Promise<EndedWith>;
  readonly stream: ClientDuplexStream<Uint8Array, Uint8Array>;
  /** Resolves when the server has seen everything that this driver's connection carried before. */
  roundTrip(): Promise<void>;
  close(): void;
}

export function openDriver(address: string, token: string | null = DRIVER_TOKEN): TestDriver {
  const client = new Client(address, credentials.createInsecure(), { 'grpc.max_receive_message_length': 4_194_304 });
  const metadata = new Metadata();
  if (token !== null) metadata.set('authorization', `Bearer ${token}`);
  const stream = client.makeBidiStreamRequest<Uint8Array, Uint8Array>(PATH, asBuffer, (bytes) => bytes, metadata);
  const heard: ServerFrameMessage['frame'][] = [];
  const messages: number[] = [];
  stream.on('data', (bytes: Uint8Array) => {
    const { frames } = fromBinary(SessionResponseSchema, bytes);
    messages.push(frames.length);
    for (const { frame } of frames) heard.push(frame);
  });
  // The status says all; without a listener an error would be thrown.
  stream.on('error', () => {});
  const ended = new Promise<EndedWith>((resolve) => stream.once('status', (status) => resolve(readStatus(status))));
  return {
    say(...frames) {
      const message = create(SessionRequestSchema, { frames: frames.map((frame) => ({ frame })) });
      stream.write(toBinary(SessionRequestSchema, message));
    },
    sayBytes: (bytes) => stream.write(bytes),
    heard,
    messages,
    ended,
    stream,
    roundTrip: () =>
      new Promise((resolve) => {
        client.makeUnaryRequest(
          INFO_PATH,
          asBuffer,
          (bytes) => bytes,
          new Uint8Array(),
          () => resolve(),
        );
      }),
    close: () => client.close(),
  };
}

export interface OpenedSession {
  readonly principal: Principal;
  readonly hello: Hello;
  readonly link: SessionLink;
  readonly received: DriverFrame[];
  /** How often the stream was said to be gone. */
  disconnected: number;
}

/** Opens every session with the same Welcome. */
export function createTestSessions(): { openSession: DriverOperations['openSession']; opened: OpenedSession[] } {
  const opened: OpenedSession[] = [];
  return {
    opened,
    async openSession(principal, hello, link) {
      const session: OpenedSession = { principal, hello, link, received: [], disconnected: 0 };
      opened.push(session);
      link.send({ type: 'Welcome', ...WELCOME });
      return {
        sessionId: WELCOME.sessionId,
        receive: (frames) => void session.received.push(...frames),
        disconnected: () => void session.disconnected++,
      };
    },
  };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes);
}

function readStatus({ code, details: message, metadata }: StatusObject): EndedWith {
  const [bytes] = metadata.get('grpc-status-details-bin');
  const details = Buffer.isBuffer(bytes) ? fromBinary(StatusSchema, bytes).details : [];
  const info = details.map((detail) => anyUnpack(detail, ErrorInfoSchema)).find((found) => found !== undefined);
  const badRequest = details.map((detail) => anyUnpack(detail, BadRequestSchema)).find((found) => found !== undefined);
  const violations = (badRequest?.fieldViolations ?? []).map(({ field, description }) => ({ field, description }));
  return { code, message, reason: info?.reason, violations };
}
