// Servers and drivers of one test, and work that the test steers. All of it is gone when the test ends.
import { onTestFinished } from 'vitest';
import { defineDriver, type DriverSettings, type JobContext, type RunningDriver } from '@conveyor/driver';
import { ScriptedServer, type ScriptedSession } from './scripted-server.ts';

export async function startServer(port = 0): Promise<ScriptedServer> {
  const server = await ScriptedServer.start(port);
  onTestFinished(() => server[Symbol.asyncDispose]());
  return server;
}

export function startDriver(
  servers: readonly ScriptedServer[],
  settings: Partial<DriverSettings> & Pick<DriverSettings, 'run'>,
): RunningDriver {
  const driver = defineDriver({ name: 'worker', slots: 4, ...settings }).start({
    addresses: servers.map(({ address }) => address),
    token: 'secret',
  });
  onTestFinished(async () => {
    // Servers first: a driver that stops waits for answers of those that are there.
    for (const server of servers) await server[Symbol.asyncDispose]();
    // Whether it could go on is for the test to assert.
    await Promise.allSettled([driver[Symbol.asyncDispose]()]);
  });
  return driver;
}

export interface HeldWork {
  readonly run: DriverSettings['run'];
  /** The context of the first job, once it runs. */
  readonly context: Promise<JobContext>;
  /** Lets the work succeed. */
  finish(): void;
}

/** Work that goes on until the test ends it, or until it is stopped. */
export function heldWork(): HeldWork {
  const started = Promise.withResolvers<JobContext>();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  return {
    run: (context) => {
      started.resolve(context);
      context.signal.addEventListener('abort', () => reject(context.signal.reason));
      return promise;
    },
    context: started.promise,
    finish: resolve,
  };
}

/** A session with one job in hand, `a`, whose work goes on until the test ends it. @param welcome What the server says of itself. */
export async function working(welcome: Parameters<ScriptedSession['welcome']>[0] = {}) {
  const server = await startServer();
  const work = heldWork();
  startDriver([server], { run: work.run });
  const session = await server.session();
  session.welcome(welcome);
  await session.startJob('a');
  return { server, session, work, context: await work.context };
}
