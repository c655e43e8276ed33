// Owns what other languages bring to the checks. Everything is made in the directory that is given; what makes a second time
// fast are the caches of Go and pip themselves.
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mustRun } from './command.ts';

export const repository = fileURLToPath(new URL('../../', import.meta.url));

const grpcurl = 'github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4';
const pythonPackages = ['grpcio==1.84.2', 'grpcio-tools==1.84.2'];

/** Builds grpcurl with the Go that is installed; returns its path. */
export async function buildGrpcurl(directory: string, signal: AbortSignal): Promise<string> {
  await mustRun('go', ['install', grpcurl], { signal, cwd: directory, env: { GOBIN: directory } });
  return join(directory, 'grpcurl');
}

/** A Python with gRPC and with stubs of the contract. */
export interface Python {
  readonly program: string;
  readonly env: { readonly PYTHONPATH: string; readonly PYTHONDONTWRITEBYTECODE: string };
}

/** Makes a virtual environment, and the stubs by Python's own generator. */
export async function preparePython(directory: string, signal: AbortSignal): Promise<Python> {
  const environment = join(directory, 'venv');
  const stubs = join(directory, 'stubs');
  const program = join(environment, 'bin', 'python');
  await mustRun('python3', ['-m', 'venv', environment], { signal });
  const install = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...pythonPackages];
  await mustRun(program, install, { signal });
  await mkdir(stubs);
  const proto = join(repository, 'proto');
  const files = (await readdir(join(proto, 'conveyor', 'v1'))).map((name) => `conveyor/v1/${name}`);
  const generate = [
    '-m',
    'grpc_tools.protoc',
    '-I.',
    '-Ithird_party',
    `--python_out=${stubs}`,
    `--grpc_python_out=${stubs}`,
  ];
  await mustRun(program, [...generate, ...files], { signal, cwd: proto });
  return { program, env: { PYTHONPATH: stubs, PYTHONDONTWRITEBYTECODE: '1' } };
}
