// Owns what only Node has: native gRPC, and the surroundings that say where the server is, whom to trust and which token it takes.
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import { type Client, type ClientPolicy, createClient } from './client.ts';
import { GuardedSessions } from './guarded-sessions.ts';

/** Where the surroundings are read from, such as `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** How to make a client in Node. */
export interface NodeClientOptions extends ClientPolicy {
  /**
   * Where the server is: `grpc://HOST:PORT` for native gRPC, `grpcs://HOST:PORT` for the same over TLS, `HOST:PORT` for TLS if
   * CONVEYOR_TLS_CA is set and plain text else; an `http://` or `https://` URL for the HTTP door. Default: as `serverAddress` says.
   */
  readonly address?: string | undefined;
  /** Default: CONVEYOR_TOKEN, else, for a server on this machine, `operator.token` in the data directory. */
  readonly token?: string | undefined;
  /**
   * The surroundings; of them CONVEYOR_TLS_CA, a PEM file with the certificates to trust (default: those of the system), counts
   * whatever the other options say. Default: `process.env`.
   */
  readonly env?: Environment | undefined;
}

/**
 * A client of the server that the options or the surroundings name. It opens nothing until the first call. Throws a TypeError for an
 * address that is none, and when the file of CONVEYOR_TLS_CA has no certificates.
 */
export function createNodeClient({ address, env = process.env, ...policy }: NodeClientOptions = {}): Client {
  const ca = readCertificates(env['CONVEYOR_TLS_CA']);
  const { door, url } = parseAddress(address ?? serverAddress(env), ca === undefined ? 'grpc' : 'grpcs');
  const token = policy.token ?? (env['CONVEYOR_TOKEN'] || localToken(url, env));
  const trust = ca === undefined || url.protocol === 'http:' ? {} : { nodeOptions: { ca } };
  if (door === 'grpc') {
    const sessionManager = new GuardedSessions(url.origin, liveness, trust.nodeOptions);
    const transport = createGrpcTransport({ baseUrl: url.origin, sessionManager });
    return createClient({ ...policy, token, transport });
  }
  if (trust.nodeOptions === undefined) return createClient({ ...policy, token, address: url.href });
  // Fetch trusts nobody of its caller's choice.
  const transport = createConnectTransport({ baseUrl: url.href, httpVersion: '1.1', useBinaryFormat: true, ...trust });
  return createClient({ ...policy, token, transport });
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

function parseAddress(address: string, defaultScheme: 'grpc' | 'grpcs'): { door: 'grpc' | 'http'; url: URL } {
  const [, scheme = defaultScheme, authority = ''] = /^(?:(grpcs?|https?):\/\/)?(.+)$/.exec(address) ?? [];
  const secure = scheme === 'grpcs' || scheme === 'https';
  const url = URL.parse(`${secure ? 'https' : 'http'}://${authority}`);
  if (url === null) {
    throw new TypeError(`'${address}' is no address of a server: write HOST:PORT, grpcs://HOST:PORT or an http(s) URL`);
  }
  return { door: scheme.startsWith('grpc') ? 'grpc' : 'http', url };
}

function readCertificates(path: string | undefined): Buffer | undefined {
  if (path === undefined || path === '') return undefined;
  const problem = `CONVEYOR_TLS_CA: cannot read certificates from ${path}: name a PEM file with the authorities to trust`;
  try {
    const pem = readFileSync(path);
    if (pem.includes('-----BEGIN CERTIFICATE-----')) return pem;
  } catch (cause) {
    throw new TypeError(problem, { cause });
  }
  throw new TypeError(problem);
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
