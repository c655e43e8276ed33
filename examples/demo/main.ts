// The demo: a server, three drivers and one run of a pipeline over the repository that this file is in, uncommitted changes
// included. `--yaml` takes the pipeline from pipeline.yaml instead of pipeline.ts. Exits with 0 only when the run has succeeded,
// and leaves nothing behind however it ends.
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { styleText } from 'node:util';
import { type Client, DriverState, type PipelineInput, type Run, RunState } from '@conveyor/client';
import { createNodeClient } from '@conveyor/client/node';
import { type Screen, showRun } from './live-logs.ts';
import { demoPipeline, yamlPipeline } from './pipeline.ts';
import { startDriver, startServer } from './processes.ts';
import { summarize, summaryText } from './summary.ts';

const repository = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const instances = ['shell-1', 'shell-2', 'shell-3'];
const exitCodes = { succeeded: 0, failed: 1, interrupted: 130 };

/** Runs the demo. Throws the signal's reason on abort. */
async function demo(interrupted: AbortSignal): Promise<boolean> {
  requireTool('git', 'install it, and clone this repository with it');
  requireTool('pnpm', 'start the demo with `npx -y pnpm@12.21.0 demo`');
  const pipeline = process.argv.includes('--yaml') ? await yamlPipeline() : demoPipeline;
  await using stack = new AsyncDisposableStack();
  const { client, broken } = await startSystem(stack);
  const signal = AbortSignal.any([interrupted, broken]);
  await driversReady(client, signal);
  const run = await startRun(client, pipeline, signal);
  await showRun(client, run.runId, await createScreen(client, run), signal);
  const finished = await client.runs.get(run.runId, { signal });
  console.log(`\n${summaryText(await summarize(client, finished), paintOutcome)}`);
  return finished.state === RunState.SUCCEEDED;
}

interface System {
  /** Calls the server as an operator. */
  readonly client: Client;
  /** Aborts when the server, or the last driver, has ended by itself. */
  readonly broken: AbortSignal;
}

/** Starts the server and its drivers below a temporary directory; the stack ends and removes all of it. */
async function startSystem(stack: AsyncDisposableStack): Promise<System> {
  const directory = await mkdtemp(join(tmpdir(), 'conveyor-demo-'));
  // What is killed together with its driver may be writing still.
  stack.defer(() => rm(directory, { recursive: true, maxRetries: 20, retryDelay: 100 }));
  const dataDir = join(directory, 'data');
  await mkdir(dataDir, { mode: 0o700 });
  const broken = new AbortController();

  const server = stack.use(await startServer(dataDir));
  server.failed.catch((error) => broken.abort(error));
  console.log(`server on ${server.address}, data in ${dataDir}`);

  const shared = { address: server.address, dataDir, workspaces: join(directory, 'workspaces') };
  const env = { GIT_CONFIG_GLOBAL: join(directory, 'gitconfig') };
  // Git refuses the repositories of other users, and the one here may be mounted from another machine.
  await writeFile(env.GIT_CONFIG_GLOBAL, '[safe]\n\tdirectory = *\n');
  const drivers = instances.map((instanceId) => ({ instanceId, ...startDriver({ ...shared, instanceId, env }) }));
  stack.defer(async () => void (await Promise.all(drivers.map((driver) => driver[Symbol.asyncDispose]()))));
  let alive = drivers.length;
  for (const { instanceId, failed } of drivers) {
    failed.catch((error) => {
      alive -= 1;
      console.log(`driver ${instanceId} is gone: what it did goes to another one when its lease has run out`);
      if (alive === 0) broken.abort(error);
    });
  }
  const client = createNodeClient({ address: server.address, env: { CONVEYOR_DATA_DIR: dataDir } });
  return { client, broken: broken.signal };
}

async function driversReady(client: Client, signal: AbortSignal): Promise<void> {
  for (;;) {
    const drivers = await Array.fromAsync(client.drivers.list({ name: 'shell' }, { signal }));
    const ready = drivers.filter(({ state }) => state === DriverState.READY).map(({ instance }) => instance);
    if (ready.length === instances.length) return console.log(`drivers ${ready.join(', ')}`);
    await sleep(50, undefined, { signal });
  }
}

/** Stores the pipeline and runs it. */
async function startRun(client: Client, input: PipelineInput, signal: AbortSignal): Promise<Run> {
  const { pipeline } = await client.pipelines.apply(input, { signal });
  const run = await client.runs.create(
    { pipeline: pipeline.name, params: { repository }, trigger: { kind: 'manual' } },
    { signal },
  );
  console.log(`run ${run.runId} of pipeline ${pipeline.name}@${pipeline.revision} over ${repository}\n`);
  return run;
}

function requireTool(name: string, advice: string): void {
  try {
    execFileSync(name, ['--version'], { stdio: 'ignore' });
  } catch {
    throw new Error(`${name} is not there: ${advice}`);
  }
}

async function createScreen(client: Client, { runId }: Run): Promise<Screen> {
  const names = (await Array.fromAsync(client.jobs.list(runId))).map(({ name }) => name);
  const width = Math.max(...names.map((name) => name.length));
  const palette = ['cyan', 'magenta', 'blue', 'yellow', 'green'] as const;
  const labels = new Map(
    names.map((name, index) => [name, styleText(palette[index % palette.length] ?? 'cyan', name.padEnd(width))]),
  );
  return { label: (job) => labels.get(job) ?? job, line: (text) => console.log(text) };
}

function paintOutcome(outcome: string, text: string): string {
  if (outcome === 'succeeded') return styleText('green', text);
  return outcome === 'failed' ? styleText('red', text) : text;
}

const interrupted = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  // Heard until the end: a second one, such as the same Ctrl-C passed on by a parent, must not cut the cleaning up short.
  process.on(name, () => {
    if (!interrupted.signal.aborted) console.log(`\n${name}: stopping`);
    interrupted.abort();
  });
}
try {
  process.exitCode = (await demo(interrupted.signal)) ? exitCodes.succeeded : exitCodes.failed;
} catch (error) {
  process.exitCode = interrupted.signal.aborted ? exitCodes.interrupted : exitCodes.failed;
  if (!interrupted.signal.aborted) console.error(`demo: ${error instanceof Error ? error.message : String(error)}`);
}
