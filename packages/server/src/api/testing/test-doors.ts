// Opens the doors of api over an engine in memory, and every way to call them.
import type { Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import type { Interceptor } from '@connectrpc/connect';
import { pino } from 'pino';
import type { Engine } from '../../engine/engine.ts';
import { type Api, type ApiOptions, createApi } from '../api.ts';
import type { Door } from '../door.ts';
import { OPERATOR_TOKEN } from './test-engine.ts';

export interface TestDoors extends AsyncDisposable {
  readonly api: Api;
  readonly grpc: Door;
  readonly http: Door;
  /** `http://HOST:PORT` of each door. */
  readonly grpcUrl: string;
  readonly httpUrl: string;
  /** One transport for each protocol, with a token of choice; undefined for none. Default: the operator's. */
  transports(token?: string | null): Record<Protocol, Transport>;
  /** Lines that were logged. */
  readonly logged: readonly string[];
}

export type Protocol = 'gRPC' | 'Connect JSON' | 'Connect binary' | 'gRPC-Web';
export const PROTOCOLS: readonly Protocol[] = ['gRPC', 'Connect JSON', 'Connect binary', 'gRPC-Web'];

export async function openTestDoors(engine: Engine, options: Partial<ApiOptions> = {}): Promise<TestDoors> {
  const logged: string[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void logged.push(line) });
  const api = createApi({ engine, version: '1.2.3', corsOrigins: ['https://ci.example.com'], log, ...options });
  const [grpc, http] = await Promise.all([
    api.listenGrpc({ address: '127.0.0.1:0' }),
    api.listenHttp({ address: '127.0.0.1:0' }),
  ]);
  const grpcUrl = `http://${grpc.address}`;
  const httpUrl = `http://${http.address}`;
  return {
    api,
    grpc,
    http,
    grpcUrl,
    httpUrl,
    logged,
    transports(token = OPERATOR_TOKEN) {
      const interceptors = token === null ? [] : [withToken(token)];
      const overHttp = { baseUrl: httpUrl, httpVersion: '1.1', interceptors } as const;
      return {
        gRPC: createGrpcTransport({ baseUrl: grpcUrl, interceptors }),
        'Connect JSON': createConnectTransport({ ...overHttp, useBinaryFormat: false }),
        'Connect binary': createConnectTransport({ ...overHttp, useBinaryFormat: true }),
        'gRPC-Web': createGrpcWebTransport(overHttp),
      };
    },
    async [Symbol.asyncDispose]() {
      api.beginStop();
      await Promise.all([grpc[Symbol.asyncDispose](), http[Symbol.asyncDispose]()]);
    },
  };
}

function withToken(token: string): Interceptor {
  return (next) => (request) => {
    request.header.set('authorization', `Bearer ${token}`);
    return next(request);
  };
}
