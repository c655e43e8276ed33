// Owns `pnpm test:interop`: the contract as programs of other origin see it, against a server as users start it. Prints each
// check with its outcome, and `interop: N passed, N failed`. What needs a toolchain that is missing is named and not counted.
import { startServerProcess } from '../bench/server-process.ts';
import { temporaryDirectory } from '../bench/temporary-directory.ts';
import { createChecklist } from './checklist.ts';
import { isInstalled } from './command.ts';
import { checkWithBufCurl, checkWithGrpcurl } from './contract-checks.ts';
import { checkPythonDriver } from './python-checks.ts';
import { type Python, buildGrpcurl, preparePython } from './toolchains.ts';

const buildLimitMs = 240_000;
const stopLimitMs = 60_000;

async function main(): Promise<boolean> {
  const checklist = createChecklist(console.log);
  await using directory = await temporaryDirectory();
  await using server = await startServerProcess(`${directory.path}/server`);
  using ending = abortAtEnd();
  // Takes longest, and nothing of the machine's that the others wait for.
  const building = (await isInstalled('go', ['version'])) ? buildGrpcurl(directory.path, ending.signal) : undefined;
  // Its check tells how it failed.
  building?.catch(() => {});
  await checkWithBufCurl(checklist, server);
  if (await isInstalled('python3', ['-m', 'venv', '--help'])) {
    let python: Python | undefined;
    await checklist.check('stubs are generated with python3', buildLimitMs, async (signal) => {
      python = await preparePython(directory.path, signal);
    });
    if (python !== undefined) await checkPythonDriver(checklist, server, python);
  } else {
    checklist.cannotRun('the driver in Python', 'python3 with its module venv is not installed');
  }
  if (building === undefined) {
    checklist.cannotRun('grpcurl', 'go is not installed');
  } else {
    let grpcurl: string | undefined;
    await checklist.check('grpcurl builds with go', buildLimitMs, async () => {
      grpcurl = await building;
    });
    if (grpcurl !== undefined) await checkWithGrpcurl(checklist, server, grpcurl);
  }
  await checklist.check('the server stops when it is told to', stopLimitMs, async () => {
    await server[Symbol.asyncDispose]();
  });
  return checklist.conclude();
}

/** A signal that aborts what is still going on when its scope ends. */
function abortAtEnd(): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  return { signal: controller.signal, [Symbol.dispose]: () => controller.abort() };
}

process.exitCode = (await main()) ? 0 : 1;
