// A process that is one replica of the control plane. SIGTERM stops it in order.
import { once } from 'node:events';
import { type Retention, startConveyor, type Timing } from '@conveyor/server';
import { processSettings, ready } from './processes.ts';

export interface ServerSettings {
  readonly databaseUrl: string;
  readonly schema: string;
  /** Holds the tokens, which all replicas share. */
  readonly dataDir: string;
  readonly timing: Timing;
  /** Default: everything is kept. */
  readonly retention?: Retention;
}

export interface ServerAddresses {
  readonly grpcAddress: string;
  readonly httpAddress: string;
}

async function main(): Promise<void> {
  const { databaseUrl, schema, dataDir, timing, retention = {} } = processSettings<ServerSettings>();
  const conveyor = await startConveyor({
    database: { url: databaseUrl },
    schema,
    dataDir,
    timing,
    retention,
    grpc: { address: '127.0.0.1:0' },
    http: { address: '127.0.0.1:0' },
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
