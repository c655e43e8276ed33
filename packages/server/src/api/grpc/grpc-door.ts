// The native gRPC door: services, driver sessions, health and reflection over grpc-js.
import { Server, ServerCredentials, type ServerOptions } from '@grpc/grpc-js';
import { HealthImplementation, type ServingStatus } from 'grpc-health-check';
import { LIMITS } from '../../core/limits.ts';
import type { CallPolicy } from '../call-policy.ts';
import {
  checkOptions,
  checkFree,
  CLOSE_GRACE_MS,
  type Door,
  DoorError,
  type DoorOptions,
  formatAddress,
} from '../door.ts';
import { type RegisterServices, SERVICES } from '../services.ts';
import { registerSessions, type SessionOptions } from '../session/session-handler.ts';
import { registerService } from './call-adapter.ts';
import { addReflection } from './reflection.ts';

export interface GrpcDoorOptions extends DoorOptions {
  readonly registerServices: RegisterServices;
  readonly policy: CallPolicy;
  readonly sessions: SessionOptions;
  /** Whether calls can be served now; asked once a second, and when the server begins to stop. */
  readonly isReady: () => boolean;
}

const OPTIONS: ServerOptions = {
  // Messages above our own limit are refused with a reason; grpc-js cuts off only what is too large to look at.
  'grpc.max_receive_message_length': 4 * LIMITS.requestBytes,
  'grpc.max_send_message_length': LIMITS.responseBytes,
  // Of one connection: a program that runs many drivers, or a proxy before them, may send all of them over one.
  'grpc.max_concurrent_streams': LIMITS.sessions,
  // Finds peers that are gone without a word; leases find those that hang.
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
};

const HEALTH_INTERVAL_MS = 1_000;

/** @throws DoorError */
export async function openGrpcDoor(options: GrpcDoorOptions): Promise<Door> {
  const { registerServices, policy, sessions, isReady } = options;
  const wanted = checkOptions(options);
  const credentials = createCredentials(options);
  await checkFree(wanted);
  const server = new Server(OPTIONS);
  registerServices((service, implementation) => registerService(server, service, implementation, policy));
  registerSessions(server, sessions);
  addReflection(server, SERVICES);
  const health = addHealth(server, isReady, sessions.stopping);
  const port = await bind(server, formatAddress(wanted), credentials);
  return {
    address: formatAddress({ host: wanted.host, port }),
    async [Symbol.asyncDispose]() {
      health[Symbol.dispose]();
      await close(server);
    },
  };
}

function createCredentials({ tls }: DoorOptions): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const pair = { private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) };
  return ServerCredentials.createSsl(null, [pair], false);
}

function addHealth(server: Server, isReady: () => boolean, stopping: AbortSignal): Disposable {
  const names = ['', ...SERVICES.map(({ typeName }) => typeName)];
  let current: ServingStatus = 'UNKNOWN';
  const health = new HealthImplementation();
  function update(): void {
    const status = isReady() ? 'SERVING' : 'NOT_SERVING';
    if (status === current) return;
    current = status;
    for (const name of names) health.setStatus(name, status);
  }
  update();
  health.addToServer(server);
  const timer = setInterval(update, HEALTH_INTERVAL_MS);
  timer.unref();
  stopping.addEventListener('abort', update);
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      stopping.removeEventListener('abort', update);
    },
  };
}

function bind(server: Server, address: string, credentials: ServerCredentials): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.bindAsync(address, credentials, (error, port) => {
    if (error === null) resolve(port);
    else
      reject(new DoorError('ADDRESS_UNAVAILABLE', `cannot listen on ${address}: ${error.message}`, { cause: error }));
  });
  return promise;
}

/** Lets calls in flight finish, then cuts off what is left. */
async function close(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.tryShutdown(() => resolve());
  const timer = setTimeout(() => server.forceShutdown(), CLOSE_GRACE_MS);
  await promise;
  clearTimeout(timer);
}
