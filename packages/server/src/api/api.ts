// The room that speaks: services, their doors, access and errors. Everything that enters is checked here and becomes plain values;
// everything that leaves is encoded here.
import { createRouterTransport, type Transport } from '@connectrpc/connect';
import type { Logger } from 'pino';
import type { Engine } from '../engine/engine.ts';
import { type Authenticate, bearerToken, createAccess } from './access.ts';
import { createCallPolicy, SERVER_STOPPING } from './call-policy.ts';
import type { Door, DoorOptions } from './door.ts';
import { openGrpcDoor } from './grpc/grpc-door.ts';
import { openHttpDoor } from './http/http-door.ts';
import { createRequestListener, type RequestListener } from './http/request-listener.ts';
import { createServices, routeServices } from './services.ts';

export type { Authenticate } from './access.ts';
export { type Door, DoorError, type DoorOptions, type DoorReason } from './door.ts';

export interface ApiOptions {
  readonly engine: Engine;
  /** The server's version, by https://semver.org. */
  readonly version: string;
  /** Takes the place of bearer tokens. */
  readonly authenticate?: Authenticate | undefined;
  /** Origins of web pages that may call the HTTP door, such as `https://ci.example.com`. */
  readonly corsOrigins: readonly string[];
  readonly log: Logger;
}

export interface Api {
  /** Calls from within this process, as an operator. */
  readonly transport: Transport;
  /** The HTTP door for a server of the embedding program: Connect, gRPC-Web, `/healthz` and `/readyz`. */
  readonly httpHandler: RequestListener;
  /** @throws DoorError */
  listenGrpc(options: DoorOptions): Promise<Door>;
  /** @throws DoorError */
  listenHttp(options: DoorOptions): Promise<Door>;
  /** First step of a graceful stop: not ready any more, no new sessions, open streams end with UNAVAILABLE. */
  beginStop(): void;
}

export function createApi({ engine, version, authenticate, corsOrigins, log }: ApiOptions): Api {
  const stopping = new AbortController();
  const access = createAccess(authenticate ?? ((headers) => authenticateToken(engine, headers)));
  const policy = createCallPolicy(access, log, stopping.signal);
  const registerServices = createServices(engine, version);
  const isReady = (): boolean => !stopping.signal.aborted && engine.ready();
  const httpHandler = createRequestListener({ registerServices, policy, corsOrigins, isReady, log });
  return {
    transport: createRouterTransport(routeServices(registerServices), { router: { interceptors: [policy.guard] } }),
    httpHandler,
    listenGrpc: (options) =>
      openGrpcDoor({
        ...options,
        registerServices,
        policy,
        sessions: { drivers: engine.drivers, access, explain: policy.explain, stopping: stopping.signal },
        isReady,
      }),
    listenHttp: (options) => openHttpDoor(httpHandler, options),
    beginStop: () => stopping.abort(SERVER_STOPPING),
  };
}

async function authenticateToken(engine: Engine, headers: Headers) {
  const token = bearerToken(headers);
  return token === undefined ? undefined : engine.authenticateToken(token);
}
