// A real gRPC server whose side of the driver session a test plays by hand: it sees every frame, and says what it is told.
import { once } from 'node:events';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type Duration, DurationSchema } from '@bufbuild/protobuf/wkt';
import { DriverService } from '@conveyor/protocol/conveyor/v1/driver_service_pb.js';
import {
  type DriverFrame,
  type Hello,
  type Offer,
  ServerFrameSchema,
  type SessionRequest,
  SessionRequestSchema,
  type SessionResponse,
  SessionResponseSchema,
  type WelcomeSchema,
} from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { LogState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import { Metadata, Server, ServerCredentials, type ServerDuplexStream, type status } from '@grpc/grpc-js';

type ServerFrameInit = NonNullable<MessageInitShape<typeof ServerFrameSchema>['frame']>;
type DriverFrameCase = NonNullable<DriverFrame['frame']['case']>;
type DriverFrameValue<Case extends DriverFrameCase> = Extract<DriverFrame['frame'], { case: Case }>['value'];
type OfferInit = Omit<Partial<Offer>, '$typeName' | '$unknown'>;
type Stream = ServerDuplexStream<SessionRequest, SessionResponse | Uint8Array>;

/** One stream that a driver opened. */
export class ScriptedSession {
  readonly server: ScriptedServer;
  readonly hello: Hello;
  readonly token: string;
  /** Cases of the frames of each message, in order. */
  readonly messages: string[][] = [];
  /** Whether heartbeats are answered. */
  pulses = true;
  /** Whether results are acknowledged. */
  finishAcks = true;
  /** Resolves when the driver's side is over. */
  readonly left: Promise<void>;
  readonly #stream: Stream;
  readonly #unread: DriverFrame['frame'][] = [];
  #arrived = Promise.withResolvers<void>();

  constructor(server: ScriptedServer, stream: Stream, first: SessionRequest) {
    this.server = server;
    this.#stream = stream;
    this.token = String(stream.metadata.get('authorization')[0]);
    const [frame] = first.frames;
    if (frame?.frame.case !== 'hello') throw new Error('the first frame is not Hello');
    this.hello = frame.frame.value;
    this.left = new Promise((resolve) => {
      stream.on('end', resolve).on('cancelled', resolve);
    });
    stream.on('data', (request: SessionRequest) => this.#receive(request));
  }

  /** Opens the session, with generous limits unless said otherwise. */
  welcome(fields: MessageInitShape<typeof WelcomeSchema> = {}): void {
    this.send({
      case: 'welcome',
      value: {
        sessionId: 'session',
        epoch: 1n,
        leaseDuration: duration(30),
        heartbeatInterval: duration(5),
        attemptLogWindow: 1n << 20n,
        sessionLogWindow: 4n << 20n,
        maxMessageBytes: 1 << 20,
        maxLogBytes: 1n << 30n,
        ...fields,
      },
    });
  }

  send(...frames: ServerFrameInit[]): void {
    this.#stream.write(create(SessionResponseSchema, { frames: frames.map((frame) => ({ frame })) }));
  }

  /** Sends a frame that a later version of the protocol might know. */
  sendUnknownFrame(): void {
    const $unknown = [{ no: 900, wireType: 2, data: Uint8Array.of(1, 7) }];
    const frame = Object.assign(create(ServerFrameSchema), { $unknown });
    this.#stream.write(create(SessionResponseSchema, { frames: [frame] }));
  }

  /** Sends a message of these bytes, whatever they are. */
  sendBytes(bytes: Uint8Array): void {
    this.#stream.write(bytes);
  }

  /** Takes the next frame of a kind, waiting for it; frames of other kinds stay. */
  async next<Case extends DriverFrameCase>(kind: Case): Promise<DriverFrameValue<Case>> {
    for (;;) {
      const at = this.#unread.findIndex((frame) => frame.case === kind);
      const [frame] = at < 0 ? [] : this.#unread.splice(at, 1);
      if (frame?.case === kind) return frame.value as DriverFrameValue<Case>;
      await this.#arrived.promise;
    }
  }

  /** Takes what has arrived of a kind. */
  arrived<Case extends DriverFrameCase>(kind: Case): DriverFrameValue<Case>[] {
    const matching = this.#unread.filter((frame) => frame.case === kind);
    for (const frame of matching) this.#unread.splice(this.#unread.indexOf(frame), 1);
    return matching.map((frame) => frame.value as DriverFrameValue<Case>);
  }

  /** Offers a job, waits for the accept and starts it. */
  async startJob(attemptId: string, offer: OfferInit = {}): Promise<void> {
    this.send(offerOf(attemptId, offer));
    await this.next('accept');
    this.send({ case: 'start', value: { attemptId, fence: 1 } });
  }

  /** Takes log bytes of an attempt until there are `length` from `offset` on; each frame must follow the last. */
  async log(attemptId: string, length: number, offset = 0): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    for (let got = 0; got < length; ) {
      const frame = await this.next('log');
      if (frame.attemptId !== attemptId || Number(frame.offset) !== offset + got) {
        throw new Error(`log of ${frame.attemptId} at ${frame.offset}, not of ${attemptId} at ${offset + got}`);
      }
      parts.push(frame.data);
      got += frame.data.length;
    }
    return Buffer.concat(parts);
  }

  /** Ends the call with an error. */
  fail(code: status, details: string): void {
    this.#stream.emit('error', { code, details, metadata: new Metadata() });
  }

  /** Ends the call with OK. */
  end(): void {
    this.#stream.end();
  }

  #receive(request: SessionRequest): void {
    this.messages.push(request.frames.map(({ frame }) => frame.case ?? 'unknown'));
    for (const { frame } of request.frames) {
      if (frame.case === 'heartbeat' && this.pulses) {
        this.send({ case: 'pulse', value: { seq: frame.value.seq, leaseLeft: { seconds: 30n } } });
      }
      if (frame.case === 'finish' && this.finishAcks) {
        const { attemptId, fence } = frame.value;
        this.send({ case: 'finishAck', value: { attemptId, fence, logState: LogState.SEALED } });
      }
      if (frame.case === 'goodbye') this.end();
      this.#unread.push(frame);
    }
    this.#arrived.resolve();
    this.#arrived = Promise.withResolvers();
  }
}

/** A server on a free port of the loopback interface. */
export class ScriptedServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #sessions: ScriptedSession[] = [];
  #opened = Promise.withResolvers<void>();
  address = '';

  private constructor() {
    this.#server = new Server({ 'grpc.max_receive_message_length': 1 << 20 });
    this.#server.addService(
      {
        session: {
          path: `/${DriverService.typeName}/Session`,
          requestStream: true,
          responseStream: true,
          requestSerialize: (message: SessionRequest) => Buffer.from(toBinary(SessionRequestSchema, message)),
          requestDeserialize: (bytes: Buffer) => fromBinary(SessionRequestSchema, bytes),
          responseSerialize: (message: SessionResponse | Uint8Array) =>
            Buffer.from(message instanceof Uint8Array ? message : toBinary(SessionResponseSchema, message)),
          responseDeserialize: (bytes: Buffer) => fromBinary(SessionResponseSchema, bytes),
        },
      },
      { session: (stream: Stream) => void this.#open(stream) },
    );
  }

  static async start(port = 0): Promise<ScriptedServer> {
    const scripted = new ScriptedServer();
    const bound = await new Promise<number>((resolve, reject) => {
      scripted.#server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, actual) =>
        error === null ? resolve(actual) : reject(error),
      );
    });
    scripted.address = `127.0.0.1:${bound}`;
    return scripted;
  }

  /** The next session that a driver opens; Hello has arrived, Welcome is still to be said. */
  session(): Promise<ScriptedSession> {
    return anySession([this]);
  }

  /** The next session, if it is here. */
  takeSession(): ScriptedSession | undefined {
    return this.#sessions.shift();
  }

  /** Resolves when another session is here. */
  get sessionOpened(): Promise<void> {
    return this.#opened.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
  }

  async #open(stream: Stream): Promise<void> {
    const [first] = (await once(stream, 'data')) as [SessionRequest];
    this.#sessions.push(new ScriptedSession(this, stream, first));
    this.#opened.resolve();
    this.#opened = Promise.withResolvers();
  }
}

/** The next session that a driver opens at any of the servers. */
export async function anySession(servers: readonly ScriptedServer[]): Promise<ScriptedSession> {
  for (;;) {
    for (const server of servers) {
      const session = server.takeSession();
      if (session !== undefined) return session;
    }
    await Promise.race(servers.map(({ sessionOpened }) => sessionOpened));
  }
}

/** An offer that stands for long. */
export function offerOf(attemptId: string, offer: OfferInit = {}): { case: 'offer'; value: OfferInit } {
  return {
    case: 'offer',
    value: {
      attemptId,
      fence: 1,
      project: 'default',
      runId: 'run',
      jobId: `job-of-${attemptId}`,
      job: 'build',
      pipeline: 'pipeline',
      offerTimeout: duration(15),
      cancelGracePeriod: duration(10),
      ...offer,
    },
  };
}

export function duration(seconds: number): Duration {
  const whole = Math.floor(seconds);
  return create(DurationSchema, { seconds: BigInt(whole), nanos: Math.round((seconds - whole) * 1e9) });
}

/** CRC32C, a bit a step. */
export function crc32c(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}
