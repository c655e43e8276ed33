// `conveyor up`: a server in this process, until a signal. The first signal drains it, the second ends it at once.
import { readFile } from 'node:fs/promises';
import { join, resolve as resolvePath } from 'node:path';
import { durationMs } from '@bufbuild/protobuf/wkt';
import { parseDuration } from '@conveyor/client';
import { type Environment, dataDirectory, serverAddress } from '@conveyor/client/node';
import type { Conveyor } from '@conveyor/server';
import type { Command } from 'commander';
import { type Cli, repeatable } from '../cli.ts';
import { UsageError, exitCodes } from '../failure.ts';
import { type ServerSettings, startServer } from '../start-server.ts';
import type { Terminal } from '../terminal.ts';

export function addUp(program: Command, cli: Cli): void {
  program
    .command('up')
    .summary('start a server')
    .description('Starts a server in this process: native gRPC for drivers and clients, HTTP for web pages and curl.')
    .option('--grpc-address <host:port>', 'where to listen for native gRPC; port 0 is any free one', '127.0.0.1:7070')
    .option('--http-address <host:port>', 'where to listen for HTTP; port 0 is any free one', '127.0.0.1:8080')
    .option('--data-dir <directory>', 'database and tokens (default: CONVEYOR_DATA_DIR, or ~/.conveyor)')
    .option(
      '--database-url <url>',
      'use this PostgreSQL (default: DATABASE_URL, or one of its own in the data directory)',
    )
    .option('--tls-cert <file>', 'certificate chain as PEM; both doors then speak TLS')
    .option('--tls-key <file>', 'its private key as PEM')
    .option('--insecure', 'allow plain text, tokens included, beyond this machine')
    .addOption(repeatable('--cors-origin <origin>', 'let web pages of this origin call the HTTP door'))
    .option('--keep-runs-for <duration>', 'delete runs so long after their end, such as 90d (default: never)')
    .option(
      '--keep-runs <number>',
      'keep so many of the newest runs, and delete older ones once finished (default: all)',
    )
    .option('--keep-logs-for <duration>', 'drop the logs of a day so long after it, such as 30d (default: never)')
    .addOption(
      repeatable(
        '--queue-share <name=weight>',
        'turns of a `project` or `project/pipeline` for one of others (default: 1)',
      ),
    )
    .addHelpText('after', help)
    .action((options: UpOptions) => up(cli, options));
}

interface UpOptions {
  readonly grpcAddress: string;
  readonly httpAddress: string;
  readonly dataDir?: string;
  readonly databaseUrl?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly insecure?: true;
  readonly corsOrigin: readonly string[];
  readonly keepRunsFor?: string;
  readonly keepRuns?: string;
  readonly keepLogsFor?: string;
  readonly queueShare: readonly string[];
}

const help = `
SIGTERM or Ctrl-C drains: sessions are handed over, calls in flight end, then the server stops. A second one ends it at once.

Examples:
  conveyor up
  conveyor up --keep-runs-for 90d --keep-logs-for 30d
  conveyor up --grpc-address 0.0.0.0:7070 --tls-cert chain.pem --tls-key key.pem --database-url postgres://ci@db/ci`;

async function up({ env, terminal }: Cli, options: UpOptions): Promise<void> {
  const settings = await readSettings(env, options);
  // Heard from now on, so that a server that has only begun to start is stopped in order, too.
  const stopRequested = onStopRequest(terminal);
  await using server = await startServer(settings);
  await terminal.print(readyText(server, settings, env));
  await stopRequested;
}

/** Resolves at the first signal; the second one ends the process. */
function onStopRequest(terminal: Terminal): Promise<void> {
  return new Promise((resolve) => {
    let isStopping = false;
    const stop = (signal: NodeJS.Signals) => {
      if (isStopping) process.exit(exitCodes.interrupted);
      isStopping = true;
      terminal.note(`${signal}: handing over what runs, then stopping; a second one ends at once`);
      resolve();
    };
    process.on('SIGINT', stop);
    process.on('SIGTERM', stop);
  });
}

async function readSettings(env: Environment, options: UpOptions): Promise<ServerSettings> {
  return {
    grpcAddress: options.grpcAddress,
    httpAddress: options.httpAddress,
    dataDir: resolvePath(options.dataDir ?? dataDirectory(env)),
    databaseUrl: options.databaseUrl ?? (env['DATABASE_URL'] || undefined),
    tls: await readTls(options),
    insecure: options.insecure ?? false,
    corsOrigins: options.corsOrigin,
    retention: readRetention(options),
    queueShares: Object.fromEntries(options.queueShare.map(readShare)),
  };
}

function readRetention({ keepRunsFor, keepRuns, keepLogsFor }: UpOptions): ServerSettings['retention'] {
  return {
    ...(keepRunsFor !== undefined && { maxAgeMs: readAge('--keep-runs-for', keepRunsFor) }),
    ...(keepRuns !== undefined && { maxRuns: readCount('--keep-runs', keepRuns) }),
    ...(keepLogsFor !== undefined && { maxLogAgeMs: readAge('--keep-logs-for', keepLogsFor) }),
  };
}

function readAge(option: string, text: string): number {
  const duration = parseDuration(text);
  if (duration === undefined)
    throw new UsageError(`${option}: '${text}' is no duration`, 'write one such as 12h or 90d');
  const ageMs = durationMs(duration);
  if (ageMs < 3_600_000) throw new UsageError(`${option}: ${text} is too short`, 'give an hour, 1h, or more');
  return ageMs;
}

function readShare(text: string): [string, number] {
  const [, name, weight] = /^([^=]+)=([1-9]\d{0,2}|1000)$/.exec(text) ?? [];
  if (name !== undefined && weight !== undefined) return [name, Number(weight)];
  throw new UsageError(`--queue-share: '${text}' is no share`, 'write one such as default/deploy=3, from 1 to 1000');
}

function readCount(option: string, text: string): number {
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text);
  throw new UsageError(`${option}: '${text}' is no number of runs`, 'write one from 1 to 9999999');
}

async function readTls({ tlsCert, tlsKey }: UpOptions): Promise<ServerSettings['tls']> {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new UsageError('TLS needs a certificate and its key', 'give both --tls-cert and --tls-key');
  }
  try {
    return { cert: await readFile(tlsCert, 'utf8'), key: await readFile(tlsKey, 'utf8') };
  } catch (thrown) {
    throw new UsageError(`cannot read the TLS files: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  }
}

function readyText(
  { grpcAddress = '', httpAddress = '' }: Conveyor,
  { dataDir, tls }: ServerSettings,
  env: Environment,
): string {
  const [grpc, http] = tls === undefined ? [grpcAddress, 'http'] : [`grpcs://${grpcAddress}`, 'https'];
  const surroundings = [
    ...(grpc === serverAddress({}) ? [] : [`CONVEYOR_ADDRESS=${grpc}`]),
    ...(dataDir === dataDirectory(env) ? [] : [`CONVEYOR_DATA_DIR=${dataDir}`]),
  ];
  return [
    `conveyor is ready: gRPC ${grpc}, HTTP ${http}://${httpAddress}`,
    `tokens: ${join(dataDir, 'operator.token')} and ${join(dataDir, 'driver.token')}`,
    `next: ${[...surroundings, 'conveyor get drivers'].join(' ')}`,
  ].join('\n');
}
