// Owns what only Node has: native gRPC, and the surroundings that say where the server is and which token it takes.
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { type Client, type ClientPolicy, createClient } from './client.ts';

/** Where the surroundings are read from, such as `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** How to make a client in Node. */
export interface NodeClientOptions extends ClientPolicy {
  /**
   * Where the server is: `HOST:PORT` or `grpc://HOST:PORT` for native gRPC, `grpcs://HOST:PORT` for the same over TLS, an
   * `http://` or `https://` URL for the HTTP door. Default: as `serverAddress` says.
   */
  readonly address?: string | undefined;
  /** Default: CONVEYOR_TOKEN, else, for a server on this machine, `operator.token` in the data directory. */
  readonly token?: string | undefined;
  /** Default: `process.env`. */
  readonly env?: Environment | undefined;
}

/** A client of the server that the options or the surroundings name. It opens nothing until the first call. */
export function createNodeClient({ address, env = process.env, ...policy }: NodeClientOptions = {}): Client {
  const { door, url } = parseAddress(address ?? serverAddress(env));
  const token = policy.token ?? (env['CONVEYOR_TOKEN'] || localToken(url, env));
  return door === 'http'
    ? createClient({ ...policy, token, address: url.href })
    : createClient({ ...policy, token, transport: createGrpcTransport({ baseUrl: url.origin, ...liveness }) });
}

/**
 * A connection whose server is gone without a word is found by an unanswered ping; without one, every call would wait on it in vain.
 * Idle ones are pinged, too: connect-node forgets a ping that is under way when a stream ends, and only then sends another.
 */
const liveness = { pingIntervalMs: 5_000, pingTimeoutMs: 5_000, pingIdleConnection: true };

/** Where the server is: CONVEYOR_ADDRESS, else CONVEYOR_HTTP_ADDRESS, else native gRPC on 127.0.0.1:7070. */
export function serverAddress(env: Environment = process.env): string {
  return env['CONVEYOR_ADDRESS'] || env['CONVEYOR_HTTP_ADDRESS'] || '127.0.0.1:7070';
}

/** Where a server on this machine keeps its data and tokens: CONVEYOR_DATA_DIR, else `~/.conveyor`. */
export function dataDirectory(env: Environment = process.env): string {
  return env['CONVEYOR_DATA_DIR'] || join(homedir(), '.conveyor');
}

function parseAddress(address: string): { door: 'grpc' | 'http'; url: URL } {
  const [, scheme = 'grpc', authority = ''] = /^(?:(grpcs?|https?):\/\/)?(.+)$/.exec(address) ?? [];
  const secure = scheme === 'grpcs' || scheme === 'https';
  const url = URL.parse(`${secure ? 'https' : 'http'}://${authority}`);
  if (url === null) {
    throw new TypeError(`'${address}' is no address of a server: write HOST:PORT, grpcs://HOST:PORT or an http(s) URL`);
  }
  return { door: scheme.startsWith('grpc') ? 'grpc' : 'http', url };
}

/** The token that a server on this machine wrote down. It belongs to that server, so it is never sent to another machine. */
function localToken(url: URL, env: Environment): string | undefined {
  if (!/^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname)) return undefined;
  try {
    return readFileSync(join(dataDirectory(env), 'operator.token'), 'utf8').trim();
  } catch {
    return undefined;
  }
}
