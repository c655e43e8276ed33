// Owns the one call into the server package, loaded only when a server is started.

/** Where the server listens and what it keeps. */
export interface ServerSettings {
  readonly grpcAddress: string;
  readonly httpAddress: string;
  readonly dataDir: string;
  /** A PostgreSQL of the user's own. Default: one of the server's, in `dataDir`. */
  readonly databaseUrl: string | undefined;
  /** PEM text. Default: no TLS. */
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  /** Allows plain text beyond this machine. */
  readonly insecure: boolean;
  /** Web pages that may call the HTTP door, by origin. */
  readonly corsOrigins: readonly string[];
}

/** A server that runs; disposing it drains and stops it. */
export interface RunningServer extends AsyncDisposable {
  readonly grpcAddress: string | undefined;
  readonly httpAddress: string | undefined;
}

/** Starts a server. Throws an Error whose message says what happened and what to do. */
export async function startServer(settings: ServerSettings): Promise<RunningServer> {
  // Loaded here, so that no other command waits for it.
  const { startConveyor } = await import('@conveyor/server');
  const { grpcAddress, httpAddress, dataDir, databaseUrl, tls, insecure, corsOrigins } = settings;
  const door = { insecure, ...(tls !== undefined && { tls }) };
  return await startConveyor({
    database: databaseUrl === undefined ? { dataDir } : { url: databaseUrl },
    dataDir,
    grpc: { address: grpcAddress, ...door },
    http: { address: httpAddress, corsOrigins, ...door },
  });
}
