// A driver that speaks the session by hand, frame by frame, so that a test can break every rule of it.
import { randomBytes } from 'node:crypto';
import { type MessageInitShape, create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { durationMs } from '@bufbuild/protobuf/wkt';
import { DriverService } from '@conveyor/protocol/conveyor/v1/driver_service_pb.js';
import {
  type DriverFrameSchema,
  FinishOutcome,
  type FinishSchema,
  type HelloSchema,
  type Offer,
  type ServerFrame,
  SessionRequestSchema,
  SessionResponseSchema,
  type Welcome,
} from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { Client, Metadata, type StatusObject, credentials } from '@grpc/grpc-js';

export type DriverFrameInit = NonNullable<MessageInitShape<typeof DriverFrameSchema>['frame']>;
type FrameCase = NonNullable<ServerFrame['frame']['case']>;
type FrameValue<Case extends FrameCase> = Extract<ServerFrame['frame'], { case: Case }>['value'];

export interface RawStreamOptions {
  readonly address: string;
  readonly token: string;
}

export interface RawSessionOptions extends RawStreamOptions {
  readonly hello: MessageInitShape<typeof HelloSchema> & { readonly driver: string };
  /** Sends no heartbeats. Default: false. */
  readonly silent?: boolean;
}

/** What every frame about an attempt carries. */
export interface Address {
  readonly attemptId: string;
  readonly fence: number;
}

/** An open stream, on which nothing was said. Disposing it breaks the connection without a word. */
export interface RawStream extends Disposable {
  /** Sends frames in one message. */
  say(...frames: DriverFrameInit[]): void;
  /** Sends a message of these bytes. */
  sayBytes(bytes: Uint8Array): void;
  /** Resolves once more may be said without piling up here. */
  drained(): Promise<void>;
  /** Closes the driver's side. */
  halfClose(): void;
  /** Reads nothing any more. */
  stopReading(): void;
  /** Takes the next frame of a kind, waiting for it; frames of other kinds stay. Rejects when the session ends before. */
  next<Case extends FrameCase>(kind: Case): Promise<FrameValue<Case>>;
  /** What has come of a kind and was not taken. */
  arrived<Case extends FrameCase>(kind: Case): readonly FrameValue<Case>[];
  /** How the stream ended. */
  readonly ended: Promise<StatusObject>;
}

/** An open session. */
export interface RawSession extends RawStream {
  readonly welcome: Welcome;
  /** Takes the next offer, accepts it and waits for its start. */
  startNext(): Promise<Offer>;
}

const PATIENCE_MS = 15_000;

/** Opens a stream and says nothing. */
export function openRawStream({ address, token }: RawStreamOptions): RawStream {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  const client = new Client(address, credentials.createInsecure());
  const stream = client.makeBidiStreamRequest(
    `/${DriverService.typeName}/${DriverService.method.session.name}`,
    (bytes: Uint8Array) => Buffer.from(bytes),
    (bytes) => fromBinary(SessionResponseSchema, bytes),
    metadata,
  );
  const unread: ServerFrame['frame'][] = [];
  const end = Promise.withResolvers<StatusObject>();
  let arrival = Promise.withResolvers<void>();
  let over: StatusObject | undefined;

  const wake = (): void => {
    arrival.resolve();
    arrival = Promise.withResolvers();
  };
  stream.on('data', ({ frames }: { frames: ServerFrame[] }) => {
    unread.push(...frames.map(({ frame }) => frame));
    wake();
  });
  // A failed call says so twice; `status` always comes.
  stream.on('error', () => undefined);
  stream.on('status', (status) => {
    over = status;
    client.close();
    end.resolve(status);
    wake();
  });

  async function next<Case extends FrameCase>(kind: Case): Promise<FrameValue<Case>> {
    const timer = setTimeout(wake, PATIENCE_MS);
    const deadlineMs = performance.now() + PATIENCE_MS;
    try {
      for (;;) {
        const [value] = take(kind, 1);
        if (value !== undefined) return value;
        const seen = unread.map((frame) => frame.case).join(', ');
        if (over !== undefined)
          throw new Error(`the session ended with ${over.code}, ${over.details}; unread: ${seen}`);
        if (performance.now() >= deadlineMs) throw new Error(`no ${kind} came; unread: ${seen}`);
        await arrival.promise;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  function take<Case extends FrameCase>(kind: Case, most: number): FrameValue<Case>[] {
    const found = unread.filter((frame) => frame.case === kind).slice(0, most);
    for (const frame of found) unread.splice(unread.indexOf(frame), 1);
    return found.map((frame) => frame.value as FrameValue<Case>);
  }

  const sayBytes = (bytes: Uint8Array): void => {
    if (over === undefined) stream.write(bytes);
  };

  return {
    say: (...frames) => sayBytes(messageOf(frames)),
    sayBytes,
    async drained() {
      if (over !== undefined || !stream.writableNeedDrain) return;
      const drain = Promise.withResolvers<void>();
      stream.once('drain', drain.resolve);
      await Promise.race([drain.promise, end.promise]);
    },
    halfClose: () => stream.end(),
    stopReading: () => stream.pause(),
    next,
    arrived: (kind) => take(kind, Number.POSITIVE_INFINITY),
    ended: end.promise,
    [Symbol.dispose]: () => stream.cancel(),
  };
}

/** Opens a session. Rejects with the status when it is refused. */
export async function openRawSession({ hello, silent = false, ...options }: RawSessionOptions): Promise<RawSession> {
  const stream = openRawStream(options);
  stream.say({ case: 'hello', value: { protocolVersion: 1, incarnation: randomBytes(16), slots: 1, ...hello } });
  const welcome = await stream.next('welcome');
  if (!silent) {
    let seq = 0n;
    const everyMs = durationMs(welcome.heartbeatInterval!);
    const beat = setInterval(() => stream.say({ case: 'heartbeat', value: { seq: ++seq } }), everyMs);
    void stream.ended.then(() => clearInterval(beat));
  }
  return {
    ...stream,
    welcome,
    async startNext() {
      const offer = await stream.next('offer');
      stream.say({ case: 'accept', value: addressOf(offer) });
      await stream.next('start');
      return offer;
    },
  };
}

/** A message of frames, as bytes. */
export function messageOf(frames: readonly DriverFrameInit[]): Uint8Array {
  const request = { frames: frames.map((frame) => ({ frame })) };
  return toBinary(SessionRequestSchema, create(SessionRequestSchema, request));
}

export function addressOf({ attemptId, fence }: Address): Address {
  return { attemptId, fence };
}

/** Bytes of an attempt's log. */
export function logFrame(attempt: Address, offset: number, data: Uint8Array): DriverFrameInit {
  return { case: 'log', value: { ...addressOf(attempt), offset: BigInt(offset), data, unixMs: 1n } };
}

/** The result of an attempt that wrote `log`; success, unless `result` says otherwise. */
export function finishFrame(
  attempt: Address,
  log: Uint8Array = new Uint8Array(),
  result: MessageInitShape<typeof FinishSchema> = {},
): DriverFrameInit {
  return {
    case: 'finish',
    value: {
      ...addressOf(attempt),
      outcome: FinishOutcome.SUCCEEDED,
      logSize: BigInt(log.length),
      logCrc32c: crc32c(log),
      ...result,
    },
  };
}

/** CRC32C, a bit a step, from its definition. */
export function crc32c(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}
