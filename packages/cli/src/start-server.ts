// Owns the one call into the server package, which is loaded only when a server is started.
import type { Conveyor, Retention } from '@conveyor/server';

/** Where the server listens and what it keeps. */
export interface ServerSettings {
  /** `HOST:PORT`. */
  readonly grpcAddress: string;
  /** `HOST:PORT`. */
  readonly httpAddress: string;
  /** Keeps the tokens, and the database unless `databaseUrl` is given. */
  readonly dataDir: string;
  /** A PostgreSQL of the user's own. */
  readonly databaseUrl: string | undefined;
  /** PEM text. Default: no TLS. */
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  /** Allows plain text beyond this machine. */
  readonly insecure: boolean;
  /** Web pages that may call the HTTP door, by origin. */
  readonly corsOrigins: readonly string[];
  /** How long runs and logs are kept. */
  readonly retention: Retention;
  /** Weights in the turns of queued jobs, by `project` or `project/pipeline`. */
  readonly queueShares: Readonly<Record<string, number>>;
}

/** Starts a server; disposing it drains and stops it. Throws an Error whose message says what happened and what to do. */
export async function startServer(settings: ServerSettings): Promise<Conveyor> {
  const { grpcAddress, httpAddress, dataDir, databaseUrl, corsOrigins, tls, insecure, retention, queueShares } =
    settings;
  const { startConveyor } = await import('@conveyor/server');
  return startConveyor({
    database: databaseUrl === undefined ? { dataDir } : { url: databaseUrl },
    dataDir,
    grpc: { address: grpcAddress, tls, insecure },
    http: { address: httpAddress, tls, insecure, corsOrigins },
    retention,
    queueShares,
  });
}
