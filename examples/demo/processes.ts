// Owns the processes of the demo, the ones that its users would start: `conveyor up` and shell drivers. The terminal's Ctrl-C does
// not reach them, since the demo stops them in order; none of them outlives it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** A process that runs. Disposing it sends SIGTERM, and SIGKILL when it has not ended by that in time. */
export interface DemoProcess extends AsyncDisposable {
  /** Rejects when it ends although nobody asked, with the last that it said. */
  readonly failed: Promise<never>;
}

/** A control plane that listens. */
export interface ServerProcess extends DemoProcess {
  /** `HOST:PORT` of native gRPC. */
  readonly address: string;
}

/** One instance of the driver `shell`, for one job at a time. */
export interface DriverOptions {
  readonly instanceId: string;
  readonly address: string;
  /** Where the server keeps its tokens. */
  readonly dataDir: string;
  readonly workspaces: string;
  /** Variables for the driver and its jobs. */
  readonly env: NodeJS.ProcessEnv;
}

const command = fileURLToPath(new URL('../../packages/cli/src/main.ts', import.meta.url));
const shellDriver = fileURLToPath(new URL('../shell/main.ts', import.meta.url));

/** Lines of a process that are kept. */
const keptLines = 20;

/** Starts `conveyor up` on free ports and an embedded database in `dataDir`, and returns once it is ready. */
export async function startServer(dataDir: string): Promise<ServerProcess> {
  const ports = ['--grpc-address', '127.0.0.1:0', '--http-address', '127.0.0.1:0'];
  const server = start('the server', [command, 'up', ...ports, '--data-dir', dataDir], {}, 15_000);
  const listening = async (): Promise<ServerProcess> => {
    for await (const line of createInterface(server.stdout)) {
      const [, address] = /^conveyor is ready: gRPC ([^ ,]+)/.exec(line) ?? [];
      if (address === undefined) continue;
      // Read to its end, or the process never counts as closed.
      server.stdout.resume();
      return { ...server, address };
    }
    return server.failed;
  };
  return listening();
}

/** Starts a driver. Work that it still has when it is disposed ends with it. */
export function startDriver(options: DriverOptions): DemoProcess {
  const { instanceId, address, dataDir, workspaces, env } = options;
  const own = {
    ...env,
    CONVEYOR_ADDRESS: address,
    CONVEYOR_DATA_DIR: dataDir,
    CONVEYOR_INSTANCE_ID: instanceId,
    SHELL_SLOTS: '1',
    SHELL_WORKSPACES: workspaces,
  };
  const driver = start(`driver ${instanceId}`, [shellDriver], own, 2_000);
  driver.stdout.resume();
  return driver;
}

function start(name: string, args: readonly string[], env: NodeJS.ProcessEnv, stopWithinMs: number) {
  const child = spawn(process.execPath, ['--conditions=source', ...args], {
    env: { ...cleanEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const said: string[] = [];
  createInterface(child.stderr).on('line', (line) => {
    said.push(line);
    if (said.length > keptLines) said.shift();
  });
  const ended = once(child, 'close');
  let stopping = false;
  const failed = ended.then(async () => {
    if (stopping) return new Promise<never>(() => {});
    throw new Error(`${name} ended; the last that it said:\n${said.join('\n')}`);
  });
  // Whoever waits for it hears of it all the same.
  failed.catch(() => {});
  return {
    stdout: child.stdout,
    failed,
    async [Symbol.asyncDispose]() {
      stopping = true;
      child.kill('SIGTERM');
      const patience = new AbortController();
      await Promise.race([ended, sleep(stopWithinMs, undefined, patience).catch(() => {})]);
      patience.abort();
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** What the demo was started with, without what names another server, database or repository, or wants colours in logs. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const foreign = /^(CONVEYOR_|GIT_|DATABASE_URL$|FORCE_COLOR$)/;
  const kept = Object.entries(process.env).filter(([name]) => !foreign.test(name));
  return { ...Object.fromEntries(kept), NO_COLOR: '1' };
}
