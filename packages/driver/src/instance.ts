// Owns one driver instance over its sessions: where it connects, when it tries again, and how it leaves. Its incarnation is
// one for its life, so that each session resumes what the last one held.
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { reconnectDelayMs } from './backoff.ts';
import { type Connections, createConnections, type Endpoint, parseEndpoint, type TlsOptions } from './connection.ts';
import type { DriverSettings } from './define-driver.ts';
import { helloFrame } from './frames.ts';
import { Holdings } from './holdings.ts';
import { JobStopped } from './job-failure.ts';
import { createLease } from './lease.ts';
import { type Logger, silentLogger } from './logger.ts';
import { openSession, type Session, type SessionEnd } from './session.ts';

/** Where a driver connects, and as whom. */
export interface StartOptions {
  /**
   * Replicas of the control plane; any of them will do. Each is `grpcs://HOST:PORT` for TLS, `grpc://HOST:PORT` for plain text, or
   * `HOST:PORT` for TLS if `tls` is given and plain text else. Default: `127.0.0.1:7070`.
   */
  readonly addresses?: readonly string[];
  /** A driver token. */
  readonly token: string;
  /**
   * Names this instance for good: 1 to 128 characters of `A-Z a-z 0-9 . _ -`. A process that starts with the id of one that
   * died is offered its work by `adopt`. Two that run at the same time must not share it. Default: a new one.
   */
  readonly instanceId?: string;
  /** How to speak TLS. Default: with the authorities of the system, where an address says so. */
  readonly tls?: TlsOptions;
  /** Default: tells nobody. */
  readonly logger?: Logger;
  /** Stops the driver at once when it aborts, as disposing it does. */
  readonly signal?: AbortSignal;
}

/** A driver that runs. Disposing it stops it at once: its work is stopped, waited for and given back. */
export interface RunningDriver extends AsyncDisposable {
  readonly instanceId: string;
  /** Resolves when the first session is open; never, if there is none. */
  readonly ready: Promise<void>;
  /**
   * Resolves when the driver has left. Rejects when it cannot go on: the control plane refused it at its first connect, or
   * another process uses its instance id. Someone should listen.
   */
  readonly finished: Promise<void>;
  /** Takes no more jobs, lets those that it has end, and leaves. Resolves, or rejects, as `finished` does. */
  drain(): Promise<void>;
}

/** A session that was open as long as this ends a series of failures. */
const steadyMs = 10_000;

/** How often in a series another session may take over before it can only be another process. */
const maxTakeovers = 3;

/** How long a driver that stops waits for its last results to be acknowledged. */
const farewellMs = 2_000;

export class DriverInstance<Spec> implements RunningDriver {
  readonly instanceId: string;
  readonly ready: Promise<void>;
  readonly finished: Promise<void>;
  readonly #settings: DriverSettings<Spec>;
  readonly #endpoints: readonly Endpoint[];
  readonly #logger: Logger;
  readonly #connections: Connections;
  readonly #holdings: Holdings<Spec>;
  readonly #incarnation = randomBytes(32);
  readonly #lease = createLease(() => {
    this.#logger.warn({}, 'the lease ran out unanswered');
    this.#holdings.doubtLease();
  });
  readonly #opened = Promise.withResolvers<void>();
  readonly #leaving = new AbortController();
  #session: Session | undefined;
  #everOpen = false;

  constructor(settings: DriverSettings<Spec>, options: StartOptions) {
    const { addresses = ['127.0.0.1:7070'], token, instanceId = newInstanceId(), tls, signal } = options;
    if (addresses.length === 0) throw new RangeError('addresses is empty');
    if (token === '') throw new RangeError('token is empty');
    this.instanceId = instanceId;
    this.#settings = settings;
    this.#endpoints = addresses.map((address) => parseEndpoint(address, tls));
    this.#logger = options.logger ?? silentLogger;
    this.#connections = createConnections(token, tls);
    this.#holdings = new Holdings(settings, this.#logger);
    this.ready = this.#opened.promise;
    this.finished = this.#stayConnected();
    const stop = (): void => void this.#stop();
    if (signal?.aborted) stop();
    else signal?.addEventListener('abort', stop, { signal: this.#leaving.signal });
  }

  async drain(): Promise<void> {
    this.#holdings.drain();
    await Promise.race([this.#holdings.until(() => this.#holdings.idle), this.finished]);
    this.#leave('drained');
    await this.finished;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
    await this.finished;
  }

  async #stop(): Promise<void> {
    this.#holdings.stopAll(new JobStopped('driver-stopping', 'the driver stops'));
    await this.#holdings.until(() => !this.#holdings.working);
    const farewell = new AbortController();
    await Promise.race([
      this.#holdings.until(() => !this.#holdings.owesResults || this.#session === undefined),
      sleep(farewellMs, undefined, { signal: farewell.signal }).catch(() => {}),
    ]);
    farewell.abort();
    this.#leave('stopped');
  }

  async #stayConnected(): Promise<void> {
    const { signal } = this.#leaving;
    let failures = 0;
    let takeovers = 0;
    let next = Math.floor(Math.random() * this.#endpoints.length);
    try {
      while (!signal.aborted) {
        const endpoint = this.#endpoints[next % this.#endpoints.length];
        if (endpoint === undefined) throw new Error('addresses are never empty');
        next++;
        const end = await this.#serve(endpoint);
        if (signal.aborted) return;
        if (end.openMs !== undefined && end.openMs >= steadyMs) failures = takeovers = 0;
        failures++;
        if (end.code === status.ABORTED) takeovers++;
        this.#throwIfFinal(end, takeovers);
        this.#tell(endpoint, end, failures);
        await sleep(reconnectDelayMs(failures, this.#endpoints.length), undefined, { signal }).catch(() => {});
      }
    } catch (error) {
      this.#holdings.stopAll(new JobStopped('revoked', 'the driver cannot go on'));
      await this.#holdings.until(() => !this.#holdings.working);
      throw error;
    } finally {
      this.#leaving.abort();
      this.#lease.end();
      this.#connections.close();
    }
  }

  /** One session, from Hello to its end. */
  async #serve(endpoint: Endpoint): Promise<SessionEnd> {
    const { name, slots = 1, pools = {}, labels = {}, specSchema, version = '' } = this.#settings;
    const hello = helloFrame({
      driver: name,
      instanceId: this.instanceId,
      incarnation: this.#incarnation,
      labels,
      slots,
      pools,
      specSchema,
      version,
      held: this.#holdings.held,
    });
    const session = openSession(this.#connections.open(endpoint), hello, {
      welcomed: (welcome, outbox) => {
        const { sessionId } = welcome;
        this.#logger.info(
          { address: endpoint.target, sessionId, driver: name, instance: this.instanceId },
          'connected',
        );
        this.#holdings.connect(welcome, outbox);
        this.#everOpen = true;
        this.#opened.resolve();
      },
      renewed: (sentAtMs, durationMs) => this.#lease.renew(sentAtMs, durationMs),
      received: (frame) => {
        if (frame.case === 'drain') session.abandon('the replica goes away');
        else this.#holdings.receive(frame);
      },
    });
    this.#session = session;
    const end = await session.ended;
    this.#session = undefined;
    this.#holdings.disconnect();
    return end;
  }

  /** Of tries that fail one after another ever fewer are told, after the first at each address. */
  #tell({ target: address }: Endpoint, { code, details, openMs }: SessionEnd, failures: number): void {
    const round = Math.ceil(failures / this.#endpoints.length);
    const isUnreachable = code === status.UNAVAILABLE && openMs === undefined;
    if (isUnreachable && !Number.isInteger(Math.log2(round))) return;
    // The transport writes it behind what it says, mostly with nothing after it.
    const told = {
      address,
      tries: failures,
      code: status[code],
      details: details.replace(/\.? Resolution note: $/, ''),
    };
    this.#logger.warn(told, isUnreachable ? `cannot reach ${address}; trying on` : 'the session ended; reconnecting');
  }

  /** What no repetition mends: a refusal at the first connect, or another process under the same instance id. */
  #throwIfFinal({ code, details }: SessionEnd, takeovers: number): void {
    if (takeovers >= maxTakeovers) {
      throw new Error(`another process runs as instance ${this.instanceId} of driver ${this.#settings.name}`);
    }
    if (!this.#everOpen && refusals.has(code)) {
      throw new Error(`the control plane refused driver ${this.#settings.name}: ${details}`);
    }
  }

  #leave(reason: string): void {
    this.#leaving.abort();
    this.#session?.leave(reason);
  }
}

const refusals: ReadonlySet<status> = new Set([
  status.UNAUTHENTICATED,
  status.PERMISSION_DENIED,
  status.INVALID_ARGUMENT,
  status.UNIMPLEMENTED,
]);

/** Unique among processes, and tells people where it runs. */
function newInstanceId(): string {
  const host = hostname()
    .replace(/[^A-Za-z0-9._-]/g, '-')
    .slice(0, 100);
  return `${host}-${randomBytes(6).toString('hex')}`;
}
