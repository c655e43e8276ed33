// Owns two programs that know the contract only by what the server says of itself: grpcurl and `buf curl`. Both call a method
// with JSON and show what came back as JSON.
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { ErrorInfoSchema } from '@conveyor/protocol/google/rpc/error_details_pb.js';
import { type CommandOptions, mustRun, runCommand } from './command.ts';
import { repository } from './toolchains.ts';

/** What one call came to. */
export interface CallResult {
  readonly messages: readonly Message[];
  /** A gRPC status code; 0 is OK. */
  readonly code: number;
  /** The reason in the error's ErrorInfo. */
  readonly reason: string | undefined;
}

/** A message as JSON. Paths through it are checked by whoever knows the method. */
export type Message = Readonly<Record<string, unknown>>;

export interface CallOptions {
  readonly signal: AbortSignal;
  /** Default: none is sent. */
  readonly token?: string;
  /** Ends the call after so many seconds. Default: none. */
  readonly deadlineS?: number;
}

export interface Caller {
  readonly name: string;
  /** Names of the services. */
  listServices(options: CallOptions): Promise<string[]>;
  /** Names of a service's methods. */
  listMethods(service: string, options: CallOptions): Promise<string[]>;
  /** Calls `package.Service/Method` with the messages given. */
  call(method: string, requests: readonly Message[], options: CallOptions): Promise<CallResult>;
}

export interface Grpcurl extends Caller {
  /** The source of a service, method or message. */
  describe(symbol: string, options: CallOptions): Promise<string>;
}

export function createGrpcurl(program: string, address: string): Grpcurl {
  const argv = ({ token, deadlineS }: CallOptions): string[] => [
    '-plaintext',
    ...(token === undefined ? [] : ['-H', `authorization: Bearer ${token}`]),
    ...(deadlineS === undefined ? [] : ['-max-time', String(deadlineS)]),
  ];
  const ask = (words: readonly string[], options: CallOptions): Promise<string> =>
    mustRun(program, [...argv(options), address, ...words], options);
  return {
    name: 'grpcurl',
    listServices: async (options) => lines(await ask(['list'], options)),
    listMethods: async (service, options) =>
      lines(await ask(['list', service], options)).map((name) => name.slice(service.length + 1)),
    describe: (symbol, options) => ask(['describe', symbol], options),
    async call(method, requests, options) {
      const words = [...argv(options), '-format-error', '-d', '@', address, method];
      const { code, stdout, stderr } = await runCommand(program, words, withInput(options, requests));
      if (code === 0) return { messages: readMessages(stdout), code: 0, reason: undefined };
      // Exit codes from 64 on are status codes; others mean that nothing was called.
      if (code === null || code < 64) throw new Error(`grpcurl ${method}: exit code ${code}\n${stderr}`);
      const status = JSON.parse(stderr) as { details?: { '@type': string; reason?: string }[] };
      const info = status.details?.find((detail) => detail['@type'].endsWith('/google.rpc.ErrorInfo'));
      return { messages: readMessages(stdout), code: code - 64, reason: info?.reason };
    },
  };
}

/** `buf curl`; without `reflection`, as the HTTP door has none, it reads the contract's sources. */
export function createBufCurl(address: string, protocol: 'grpc' | 'grpcweb' | 'connect'): Caller {
  const program = join(repository, 'node_modules', '.bin', 'buf');
  const schema =
    protocol === 'grpc' ? ['--http2-prior-knowledge', '--reflect'] : ['--schema', join(repository, 'proto')];
  const argv = (path: string, { token, deadlineS }: CallOptions, words: readonly string[] = []): string[] => [
    'curl',
    ...schema,
    '--protocol',
    protocol,
    ...(token === undefined ? [] : ['--header', `authorization: Bearer ${token}`]),
    ...(deadlineS === undefined ? [] : ['--timeout', `${deadlineS}s`]),
    ...words,
    `http://${address}${path}`,
  ];
  return {
    name: `buf curl, ${protocol}`,
    listServices: async (options) => lines(await mustRun(program, argv('', options, ['--list-services']), options)),
    listMethods: async (service, options) =>
      lines(await mustRun(program, argv('', options, ['--list-methods']), options))
        .filter((method) => method.startsWith(`${service}/`))
        .map((method) => method.slice(service.length + 1)),
    async call(method, requests, options) {
      const words = argv(`/${method}`, options, ['--data', '@-']);
      const { code, stdout, stderr } = await runCommand(program, words, withInput(options, requests));
      if (code === 0) return { messages: readMessages(stdout), code: 0, reason: undefined };
      // The exit code is the status code times eight; others mean that nothing was called.
      if (code === null || code < 8) throw new Error(`buf curl ${method}: exit code ${code}\n${stderr}`);
      const error = JSON.parse(stderr) as { details?: { type: string; value: string }[] };
      const info = error.details?.find(({ type }) => type === 'google.rpc.ErrorInfo');
      const reason = info && fromBinary(ErrorInfoSchema, Buffer.from(info.value, 'base64')).reason;
      return { messages: readMessages(stdout), code: code / 8, reason };
    },
  };
}

function withInput({ signal }: CallOptions, requests: readonly Message[]): CommandOptions {
  return { signal, input: requests.map((request) => JSON.stringify(request)).join('\n') };
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

/** Messages as JSON, one after the other, each beginning at the start of a line. */
function readMessages(text: string): Message[] {
  return text
    .split(/^(?=\{)/m)
    .filter((part) => part.trim() !== '')
    .map((part) => JSON.parse(part) as Message);
}
