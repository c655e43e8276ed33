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
  await checkWithBufCurl(checklist, server);
  if (await isInstalled('go', ['version'])) {
    let grpcurl: string | undefined;
    await checklist.check('grpcurl builds with go', buildLimitMs, async (signal) => {
      grpcurl = await buildGrpcurl(directory.path, signal);
    });
    if (grpcurl !== undefined) await checkWithGrpcurl(checklist, server, grpcurl);
  } else {
    checklist.cannotRun('grpcurl', 'go is not installed');
  }
  if (await isInstalled('python3', ['-m', 'venv', '--help'])) {
    let python: Python | undefined;
    await checklist.check('stubs are generated with python3', buildLimitMs, async (signal) => {
      python = await preparePython(directory.path, signal);
    });
    if (python !== undefined) await checkPythonDriver(checklist, server, python);
  } else {
    checklist.cannotRun('the driver in Python', 'python3 with its module venv is not installed');
  }
  await checklist.check('the server stops when it is told to', stopLimitMs, async () => {
    await server[Symbol.asyncDispose]();
  });
  return checklist.conclude();
}

process.exitCode = (await main()) ? 0 : 1;
