// A process that is one replica of the control plane. SIGTERM stops it in order.
import { once } from 'node:events';
import { type Retention, startConveyor, type Timing } from '@conveyor/server';
import { processSettings, ready } from './processes.ts';

export interface ServerSettings {
  readonly databaseUrl: string;
  readonly schema: string;
  /** Holds the tokens, which all replicas share. */
  readonly dataDir: string;
  readonly timing?: Timing;
  /** The values of all secrets that jobs may ask for. Default: there are none. */
  readonly secrets?: Readonly<Record<string, string>>;
  /** Default: everything is kept. */
  readonly retention?: Retention;
  /** Default: 1 GiB. */
  readonly maxLogBytes?: number;
  /** For both doors. Default: plain text. */
  readonly tls?: { readonly cert: string; readonly key: string };
}

export interface ServerAddresses {
  readonly grpcAddress: string;
  readonly httpAddress: string;
}

async function main(): Promise<void> {
  const { databaseUrl, secrets, tls, ...settings } = processSettings<ServerSettings>();
  const door = { address: '127.0.0.1:0', ...(tls !== undefined && { tls }) };
  const conveyor = await startConveyor({
    ...settings,
    database: { url: databaseUrl },
    ...(secrets !== undefined && { resolveSecrets: async () => secrets }),
    grpc: door,
    http: door,
  });
  const stopped = once(process, 'SIGTERM');
  ready({ grpcAddress: conveyor.grpcAddress, httpAddress: conveyor.httpAddress });
  await stopped;
  await conveyor[Symbol.asyncDispose]();
  // The channel to the parent would keep this process alive, and nothing else may.
  process.removeAllListeners('disconnect');
  process.disconnect();
}

if (import.meta.main) await main();
