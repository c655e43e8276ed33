// A process that is one driver instance and does what the specs of its jobs say. SIGTERM drains it.
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { defineDriver, type JobContext, JobFailure, RunValueError } from '@conveyor/driver';
import { processSettings, ready } from './processes.ts';
import { digestOutput, linesOf, sha256, type Step, type Workload, writtenBy } from './workload.ts';

export interface DriverSettings {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly token: string;
  readonly instanceId: string;
  readonly slots: number;
  /** Default: none. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly pools?: Readonly<Record<string, number>>;
  /** Whether it takes over the work of an earlier process of its instance. */
  readonly adopts: boolean;
}

const POLL_MS = 20;
const PIECE_BYTES = 16_384;

async function main(): Promise<void> {
  const {
    name,
    addresses,
    token,
    instanceId,
    slots,
    labels = {},
    pools = {},
    adopts,
  } = processSettings<DriverSettings>();
  const driver = defineDriver<Workload>({
    name,
    slots,
    labels,
    pools,
    run: (context) => work(context, 0),
    ...(adopts && { adopt: (context, handle) => work(context, Number(handle.toString())) }),
  });
  const running = driver.start({ addresses, token, instanceId });
  await Promise.race([running.ready, running.finished]);
  process.once('SIGTERM', () => void running.drain().catch(() => undefined));
  ready({});
  await running.finished;
  process.removeAllListeners('disconnect');
  process.disconnect();
}

/** Does the steps from one on; those before it were done by an earlier process. */
async function work(context: JobContext<Workload>, from: number): Promise<void> {
  const { steps, onStop = 'end' } = context.spec;
  const stop = { end: context.signal, ignore: context.killed, survive: new AbortController().signal }[onStop];
  try {
    for (const [index, step] of steps.entries()) if (index >= from) await take(context, step, index, stop);
  } catch (error) {
    if (stop.aborted) await context.log(`stopped: ${String(stop.reason.why)}\n`);
    throw error;
  }
  context.output(digestOutput, sha256(writtenBy(steps)));
}

async function take(context: JobContext<Workload>, step: Step, index: number, stop: AbortSignal): Promise<void> {
  stop.throwIfAborted();
  switch (step.do) {
    case 'say':
      return await context.log(step.text);
    case 'write':
      return await write(context, step, stop);
    case 'wait':
      while (!existsSync(step.file)) await delay(POLL_MS, undefined, { signal: stop });
      return;
    case 'prove':
      return context.output(step.secret, sha256(Buffer.from(context.secrets[step.secret] ?? '')));
    case 'output':
      return context.output(step.key, step.value);
    case 'pass-on': {
      const needs = Object.entries(context.needs).map(([name, { outputs }]) => [name, outputs]);
      return context.output('needs', Object.fromEntries(needs));
    }
    case 'annotate':
      return context.annotate(step.text);
    case 'make':
      return context.artifact({ name: step.name, digest: step.digest, size: step.size });
    case 'add':
      return await add(context, step);
    case 'append':
      return await context.append(step.jobs);
    case 'checkpoint':
      return context.checkpoint(String(index + 1));
    case 'fail':
      if (context.job.attempt > (step.upToAttempt ?? Number.POSITIVE_INFINITY)) return;
      throw new JobFailure(step);
  }
}

async function write(
  { log }: JobContext<Workload>,
  { seed, bytes, pieceBytes = PIECE_BYTES, pauseMs = 0 }: Extract<Step, { do: 'write' }>,
  stop: AbortSignal,
): Promise<void> {
  const lines = linesOf(seed, bytes);
  for (let at = 0; at < lines.length; at += pieceBytes) {
    await log(lines.subarray(at, at + pieceBytes));
    if (pauseMs > 0) await delay(pauseMs, undefined, { signal: stop });
    stop.throwIfAborted();
  }
}

async function add({ values }: JobContext<Workload>, { key, times }: Extract<Step, { do: 'add' }>): Promise<void> {
  for (let added = 0; added < times; ) {
    const { value, version } = (await values.get(key)) ?? { value: 0, version: 0 };
    try {
      await values.set(key, Number(value) + 1, { expectedVersion: version });
      added++;
    } catch (error) {
      if (!(error instanceof RunValueError) || error.reason !== 'VERSION_MISMATCH') throw error;
    }
  }
}

if (import.meta.main) await main();
