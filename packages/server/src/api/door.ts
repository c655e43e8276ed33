// What both doors have in common: where they listen, and what keeps them from it.
import { createServer } from 'node:net';
import { createSecureContext } from 'node:tls';

/** An open door. Disposing it lets calls in flight finish for a few seconds, then cuts them off. */
export interface Door extends AsyncDisposable {
  /** `HOST:PORT` with the actual port. */
  readonly address: string;
}

export interface DoorOptions {
  /** `HOST:PORT`, such as `127.0.0.1:7070` or `[::1]:7070`; port 0 takes a free one. */
  readonly address: string;
  /** PEM; without it the door speaks plaintext. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer } | undefined;
  /** Allows plaintext beyond loopback. Default: false. */
  readonly insecure?: boolean | undefined;
}

export type DoorReason =
  | 'ADDRESS_INVALID'
  | 'ADDRESS_IN_USE'
  | 'ADDRESS_UNAVAILABLE'
  | 'PLAINTEXT_REFUSED'
  | 'TLS_INVALID';

/** A door could not be opened. The message says what happened and what to do. */
export class DoorError extends Error {
  readonly reason: DoorReason;

  constructor(reason: DoorReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DoorError';
    this.reason = reason;
  }
}

export interface HostPort {
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
}

/** How long a door that is being closed waits for calls in flight. */
export const CLOSE_GRACE_MS = 5_000;

const ADDRESS = /^(?:\[(?<ipv6>[0-9a-fA-F:.]+)\]|(?<host>[^:[\]]+)):(?<port>[0-9]{1,5})$/;

/** Reads the address, and refuses plaintext that others could read and TLS that cannot work. @throws DoorError */
export function checkOptions({ address, tls, insecure = false }: DoorOptions): HostPort {
  const { ipv6, host = ipv6, port } = ADDRESS.exec(address)?.groups ?? {};
  if (host === undefined || Number(port) > 65_535) {
    throw new DoorError('ADDRESS_INVALID', `${address} is no address: write HOST:PORT, such as 127.0.0.1:7070`);
  }
  if (tls === undefined && !insecure && !isLoopback(host)) {
    throw new DoorError(
      'PLAINTEXT_REFUSED',
      `${address} can be reached by other machines, which could read tokens and secrets on the way: ` +
        'give a TLS certificate and key (`--tls-cert`, `--tls-key`), listen on 127.0.0.1, or allow it (`--insecure`)',
    );
  }
  if (tls !== undefined) checkTls(tls);
  return { host, port: Number(port) };
}

export function formatAddress({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Says why nothing can listen here, before a server that would say it less well is asked to. @throws DoorError */
export async function checkFree(address: HostPort): Promise<void> {
  const probe = createServer();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  probe.once('error', (error) => reject(listenError(address, error)));
  probe.listen(address.port, address.host, () => probe.close(() => resolve()));
  await promise;
}

/** What a failed listen means. */
export function listenError(address: HostPort, error: NodeJS.ErrnoException): DoorError {
  const at = formatAddress(address);
  const options = { cause: error };
  if (error.code === 'EADDRINUSE') {
    const message = `another program already listens on ${at}: stop it, or choose another port (0 takes a free one)`;
    return new DoorError('ADDRESS_IN_USE', message, options);
  }
  if (error.code === 'EACCES') {
    return new DoorError('ADDRESS_UNAVAILABLE', `this user may not listen on ${at}: choose a port above 1023`, options);
  }
  return new DoorError('ADDRESS_UNAVAILABLE', `cannot listen on ${at}: ${error.message}`, options);
}

function checkTls(tls: NonNullable<DoorOptions['tls']>): void {
  try {
    createSecureContext(tls);
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    const message = `the TLS certificate and key cannot be used: ${problem}; both must be PEM, and belong together`;
    throw new DoorError('TLS_INVALID', message, { cause: error });
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}
