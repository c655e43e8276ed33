// Owns a server as its users start it: `conveyor up` in a process of its own, on free ports of the loopback interface.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { postmasterPid } from './ledger-recount.ts';

export interface ServerProcess extends AsyncDisposable {
  readonly pid: number;
  /** HOST:PORT of native gRPC. */
  readonly grpcAddress: string;
  /** HOST:PORT of Connect and gRPC-Web. */
  readonly httpAddress: string;
  readonly operatorToken: string;
  readonly driverToken: string;
  /** From the start of the process until it said that it is ready, in milliseconds. */
  readonly startMs: number;
}

export interface ServerProcessOptions {
  /** Options of Node. Default: none. */
  readonly nodeArgv?: readonly string[];
  /** Whether to run what `pnpm build` made, as an installed command does, instead of the sources. Default: false. */
  readonly compiled?: boolean;
  /** Options of `conveyor up`. Default: none. */
  readonly argv?: readonly string[];
}

const cli = new URL('../../packages/cli/', import.meta.url);
const startWithinMs = 60_000;
const stopWithinMs = 30_000;

/** Starts a server and returns once it is ready. Disposing it stops it as SIGTERM does. */
export async function startServerProcess(
  dataDir: string,
  { nodeArgv = [], compiled = false, argv: options = [] }: ServerProcessOptions = {},
): Promise<ServerProcess> {
  const began = performance.now();
  const main = fileURLToPath(new URL(compiled ? 'dist/main.js' : 'src/main.ts', cli));
  const addresses = ['--grpc-address', '127.0.0.1:0', '--http-address', '127.0.0.1:0'];
  const conditions = compiled ? [] : ['--conditions=source'];
  const argv = [...conditions, ...nodeArgv, main, 'up', ...addresses, '--data-dir', dataDir, ...options];
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = once(child, 'exit');
  const complaints = createInterface(child.stderr).on('line', (line) => {
    // What the server only reports would hide what it complains about.
    if (!line.startsWith('{"level":30,')) console.error(`server: ${line}`);
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), startWithinMs);
  try {
    for await (const line of createInterface(child.stdout)) {
      const [, grpcAddress, httpAddress] = /^conveyor is ready: gRPC (\S+), HTTP (?:http:\/\/)?(\S+)$/.exec(line) ?? [];
      if (grpcAddress === undefined || httpAddress === undefined) continue;
      const startMs = performance.now() - began;
      child.stdout.resume();
      return {
        pid: child.pid ?? 0,
        grpcAddress,
        httpAddress,
        operatorToken: await readToken(dataDir, 'operator.token'),
        driverToken: await readToken(dataDir, 'driver.token'),
        startMs,
        async [Symbol.asyncDispose]() {
          complaints.removeAllListeners('line');
          child.kill('SIGTERM');
          const gaveUp = new AbortController();
          const late = delay(stopWithinMs, true, { signal: gaveUp.signal }).catch(() => false);
          const isLate = await Promise.race([late, exited.then(() => false)]);
          gaveUp.abort();
          if (!isLate) return;
          child.kill('SIGKILL');
          process.kill(await postmasterPid(dataDir), 'SIGQUIT');
          throw new Error(`the server did not stop within ${stopWithinMs} ms`);
        },
      };
    }
  } finally {
    clearTimeout(timer);
  }
  throw new Error('the server did not start');
}

async function readToken(dataDir: string, name: string): Promise<string> {
  return (await readFile(join(dataDir, name), 'utf8')).trim();
}
