// The doors themselves: addresses, TLS, health, reflection, CORS, limits, and how they close.
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect, createServer } from 'node:net';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { service as healthService } from 'grpc-health-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { RunService } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { ServerService } from '@conveyor/protocol/conveyor/v1/server_service_pb.js';
import { LIMITS } from '../core/limits.ts';
import { DoorError, type DoorOptions } from './door.ts';
import { SERVICES } from './services.ts';
import { refusalOf } from './testing/any-call.ts';
import { openTestDoors, type TestDoors } from './testing/test-doors.ts';
import { RUN, RUN_ID } from './testing/sample-runs.ts';
import { createTestEngine, OPERATOR_TOKEN } from './testing/test-engine.ts';
import { TEST_CERT, TEST_KEY } from './testing/test-tls.ts';

const bearer = { authorization: `Bearer ${OPERATOR_TOKEN}` };
const tls = { cert: TEST_CERT, key: TEST_KEY };

let doors: TestDoors;
beforeAll(async () => {
  doors = await openTestDoors(createTestEngine());
});
afterAll(() => doors[Symbol.asyncDispose]());

describe.each(['gRPC', 'HTTP'] as const)('the %s door', (name) => {
  const open = ({ api }: TestDoors, options: DoorOptions) =>
    name === 'gRPC' ? api.listenGrpc(options) : api.listenHttp(options);

  async function refused(options: DoorOptions): Promise<DoorError> {
    const error: unknown = await open(doors, options).catch((reason: unknown) => reason);
    if (!(error instanceof DoorError)) throw new Error('the door was opened', { cause: error });
    return error;
  }

  it('says that a port is in use, and what to do', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const address = `127.0.0.1:${(other.address() as { port: number }).port}`;
    const { reason, message } = await refused({ address });
    other.close();
    expect(reason).toBe('ADDRESS_IN_USE');
    expect(message).toBe(
      `another program already listens on ${address}: stop it, or choose another port (0 takes a free one)`,
    );
  });

  it.each(['localhost', ':7070', '127.0.0.1:65536', '127.0.0.1:x', '', 'http://127.0.0.1:1'])(
    'refuses %j as no address',
    async (address) => {
      expect(await refused({ address })).toMatchObject({ reason: 'ADDRESS_INVALID' });
    },
  );

  it.each(['0.0.0.0:0', '[::]:0', 'ci.example.com:0', '10.0.0.1:0'])('refuses plaintext on %s', async (address) => {
    const { reason, message } = await refused({ address });
    expect(reason).toBe('PLAINTEXT_REFUSED');
    expect(message).toContain('TLS');
  });

  it('says when an address is not of this machine', async () => {
    expect(await refused({ address: '203.0.113.1:0', insecure: true })).toMatchObject({
      reason: 'ADDRESS_UNAVAILABLE',
    });
  });

  it('says when a certificate cannot be used', async () => {
    expect(await refused({ address: '127.0.0.1:0', tls: { cert: 'x', key: 'y' } })).toMatchObject({
      reason: 'TLS_INVALID',
    });
  });

  it('opens plaintext beyond loopback when it is allowed to, and speaks TLS', async () => {
    await using plain = await open(doors, { address: '0.0.0.0:0', insecure: true });
    expect(plain.address).toMatch(/^0\.0\.0\.0:[1-9][0-9]*$/);
    await using secure = await open(doors, { address: '0.0.0.0:0', tls });
    const baseUrl = `https://localhost:${secure.address.split(':')[1]}`;
    const nodeOptions = { ca: TEST_CERT };
    const transports =
      name === 'gRPC'
        ? [createGrpcTransport({ baseUrl, nodeOptions })]
        : [
            createConnectTransport({ baseUrl, httpVersion: '2', nodeOptions }),
            createConnectTransport({ baseUrl, httpVersion: '1.1', nodeOptions }),
          ];
    for (const transport of transports) {
      const info = await createClient(ServerService, transport).getServerInfo({}, { headers: bearer });
      expect(info.version).toBe('1.2.3');
    }
  });

  it('lets a call in flight finish while it closes', async () => {
    const answer = Promise.withResolvers<typeof RUN>();
    const asked = Promise.withResolvers<void>();
    const get = () => {
      asked.resolve();
      return answer.promise;
    };
    await using own = await openTestDoors(createTestEngine({ runs: { get } }));
    const transport = own.transports()[name === 'gRPC' ? 'gRPC' : 'Connect JSON'];
    const inFlight = createClient(RunService, transport).getRun({ runId: RUN_ID });
    await asked.promise;
    const door = name === 'gRPC' ? own.grpc : own.http;
    const closing = door[Symbol.asyncDispose]();
    await expect.poll(() => reachable(door.address)).toBe(false);
    answer.resolve(RUN);
    expect((await inFlight).run?.runId).toBe(RUN_ID);
    await closing;
  });
});

describe('health', () => {
  it('follows readiness, for the server and each of its services', async () => {
    let isReady = true;
    await using own = await openTestDoors(createTestEngine({ ready: () => isReady }));
    const client = new Client(own.grpc.address, credentials.createInsecure());
    const check = (service: string) => checkHealth(client, service);
    for (const service of ['', ...SERVICES.map(({ typeName }) => typeName)]) {
      expect(await check(service)).toBe('SERVING');
    }
    isReady = false;
    await vi.waitFor(async () => expect(await check('')).toBe('NOT_SERVING'), { timeout: 5_000 });
    isReady = true;
    await vi.waitFor(async () => expect(await check('')).toBe('SERVING'), { timeout: 5_000 });
    own.api.beginStop();
    expect(await check('')).toBe('NOT_SERVING');
    client.close();
  });

  it('is told by /healthz and /readyz', async () => {
    let isReady = true;
    await using own = await openTestDoors(createTestEngine({ ready: () => isReady }));
    const status = async (path: string) => (await fetch(`${own.httpUrl}${path}`)).status;
    expect(await status('/healthz')).toBe(200);
    expect(await status('/readyz')).toBe(200);
    isReady = false;
    expect(await status('/readyz')).toBe(503);
    isReady = true;
    own.api.beginStop();
    expect(await status('/readyz')).toBe(503);
    expect(await status('/healthz')).toBe(200);
  });
});

describe('reflection', () => {
  it('lists every service', async () => {
    const names = await reflect(doors.grpc.address, (writer) => writer.tag(7, WireType.LengthDelimited).string('*'));
    expect(names.services.sort()).toEqual(
      [...SERVICES.map(({ typeName }) => typeName), 'grpc.health.v1.Health'].sort(),
    );
  });

  it.each([...SERVICES.map(({ typeName }) => typeName), 'google.rpc.BadRequest', 'grpc.health.v1.Health'])(
    'describes %s with all that it refers to',
    async (symbol) => {
      const { files } = await reflect(doors.grpc.address, (writer) =>
        writer.tag(4, WireType.LengthDelimited).string(symbol),
      );
      expect(files).not.toHaveLength(0);
    },
  );
});

describe('CORS', () => {
  const preflight = (origin: string) =>
    fetch(`${doors.httpUrl}/conveyor.v1.RunService/GetRun`, {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' },
    });

  it('lets pages of an allowed origin call', async () => {
    const { status, headers } = await preflight('https://ci.example.com');
    expect(status).toBe(204);
    expect(headers.get('access-control-allow-origin')).toBe('https://ci.example.com');
    expect(headers.get('access-control-allow-headers')).toMatch(
      /content-type.*connect-protocol-version.*authorization/i,
    );
    const call = await fetch(`${doors.httpUrl}/conveyor.v1.ServerService/GetServerInfo`, {
      method: 'POST',
      headers: { origin: 'https://ci.example.com', 'content-type': 'application/json', ...bearer },
      body: '{}',
    });
    expect(call.headers.get('access-control-allow-origin')).toBe('https://ci.example.com');
    expect(await call.json()).toMatchObject({ version: '1.2.3' });
  });

  it('tells pages of other origins nothing', async () => {
    const { headers } = await preflight('https://evil.example.com');
    expect([...headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([]);
    expect(headers.get('vary')).toBe('Origin');
  });
});

describe('the HTTP door', () => {
  it('takes what curl sends', async () => {
    const response = await fetch(`${doors.httpUrl}/conveyor.v1.RunService/GetRun`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...bearer },
      body: JSON.stringify({ run_id: RUN_ID }),
    });
    expect(await response.json()).toMatchObject({ run: { runId: RUN_ID, state: 'RUN_STATE_RUNNING' } });
  });

  it('answers reads by GET', async () => {
    const query = new URLSearchParams({ connect: 'v1', encoding: 'json', message: JSON.stringify({ runId: RUN_ID }) });
    const response = await fetch(`${doors.httpUrl}/conveyor.v1.RunService/GetRun?${query.toString()}`, {
      headers: bearer,
    });
    expect(await response.json()).toMatchObject({ run: { runId: RUN_ID } });
  });

  it('answers 404 to what is not there', async () => {
    const response = await fetch(`${doors.httpUrl}/conveyor.v1.RunService/Nothing`, {
      method: 'POST',
      headers: bearer,
    });
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ code: 'unimplemented' });
  });

  it.each(['{"runId": 5}', '{"runId"', '[]', '{"runID": "x"}'])(
    'refuses the malformed body %s with a reason',
    async (body) => {
      const response = await fetch(`${doors.httpUrl}/conveyor.v1.RunService/GetRun`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...bearer },
        body,
      });
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({
        code: 'invalid_argument',
        details: [{ type: 'google.rpc.ErrorInfo' }],
      });
    },
  );

  it.each([
    [
      'a misspelt field',
      { nedes: ['b'] },
      /"nedes" is unknown; did you mean needs\? these are: name, driver, .*, stickyKey$/,
    ],
    ['a field that is none', { steps: [] }, /"steps" is unknown; these are: name, driver, .*, stickyKey$/],
    ['a value without its prefix', { when: 'always' }, /"always"; did you mean RUN_CONDITION_ALWAYS\? these are: RUN_/],
    [
      'a misspelt value',
      { when: 'RUN_CONDITION_ALWAY' },
      /"RUN_CONDITION_ALWAY"; did you mean RUN_CONDITION_ALWAYS\? /,
    ],
    [
      'a value that is none',
      { when: 'sometimes' },
      /"sometimes"; these are: RUN_CONDITION_SUCCESS, .*, RUN_CONDITION_FINALLY$/,
    ],
    ['a value that is no text', { when: true }, /from JSON: true$/],
    [
      'a name in place of an object',
      { call: 'child' },
      /PipelineCall from JSON: .*; write an object of these: pipeline, .*/,
    ],
    [
      'a duration that is none',
      { timeouts: { runTimeout: '5 min' } },
      /from JSON: .*; write seconds, such as "300s" or "1.5s"$/,
    ],
    ['a text in place of any object', { spec: 'x' }, /from JSON .*; write an object$/],
  ])('tells what there is instead of %s', async (_, job, message) => {
    const response = await fetch(`${doors.httpUrl}/conveyor.v1.PipelineService/ApplyPipeline`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...bearer },
      body: JSON.stringify({ name: 'ci', definition: { jobs: [{ name: 'a', driver: 'shell', ...job }] } }),
    });
    expect(await response.json()).toMatchObject({ code: 'invalid_argument', message: expect.stringMatching(message) });
  });

  it.each([
    [
      'a host that is no host',
      'POST /conveyor.v1.RunService/GetRun HTTP/1.1\r\nHost: a b\r\nContent-Length: 0\r\n\r\n',
    ],
    ['no host', 'POST /conveyor.v1.RunService/GetRun HTTP/1.0\r\nContent-Length: 0\r\n\r\n'],
    ['headers over the limit', `GET /healthz HTTP/1.1\r\nHost: a\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`],
  ])('survives %s', async (_, head) => {
    const [host, port] = doors.http.address.split(':');
    const socket = connect(Number(port), host);
    socket.end(head);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    expect(String(answer)).toMatch(/^HTTP\/1\.1 4[0-9]{2} /);
    expect((await fetch(`${doors.httpUrl}/healthz`)).status).toBe(200);
  });

  it('reads no body of a caller whom it does not know', async () => {
    const [host, port] = doors.http.address.split(':');
    const socket = connect(Number(port), host);
    const head = ['POST /conveyor.v1.RunService/GetRun HTTP/1.1', 'Host: a', 'Content-Type: application/json'];
    socket.write(`${[...head, 'Content-Length: 100000'].join('\r\n')}\r\n\r\n`);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    expect(String(answer)).toContain('HTTP/1.1 401');
  });
});

it.each(['WatchRun', 'GetRun'])('the gRPC door refuses metadata over the limit: %s', async (name) => {
  const client = createClient(RunService, doors.transports().gRPC);
  const headers = { 'x-large': 'y'.repeat(20_000) };
  const call =
    name === 'GetRun'
      ? client.getRun({ runId: RUN_ID }, { headers })
      : Array.fromAsync(client.watchRun({ runId: RUN_ID }, { headers }));
  expect(await refusalOf(call)).toMatchObject({
    reason: 'LIMIT_REACHED',
    metadata: { limit: 'metadata_bytes', max: '16384' },
  });
});

describe('the gRPC door', () => {
  it('refuses bytes that are no message', async () => {
    const client = new Client(doors.grpc.address, credentials.createInsecure());
    const metadata = new Metadata();
    metadata.set('authorization', bearer.authorization);
    const error = await new Promise<ServiceError | null>((resolve) => {
      const same = (bytes: Buffer) => bytes;
      client.makeUnaryRequest('/conveyor.v1.RunService/GetRun', same, same, Buffer.from([0xff]), metadata, resolve);
    });
    client.close();
    expect(error?.code).toBe(3);
    expect(error?.details).toContain('conveyor.v1.GetRunRequest');
  });

  it('tells a client how many streams a connection takes', async () => {
    const session = connectHttp2(doors.grpcUrl);
    const [settings] = (await once(session, 'remoteSettings')) as [{ maxConcurrentStreams: number }];
    session.destroy();
    expect(settings.maxConcurrentStreams).toBe(LIMITS.sessions);
  });
});

function reachable(address: string): Promise<boolean> {
  const [host, port] = address.split(':');
  const socket = connect(Number(port), host);
  return new Promise((resolve) => {
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
  }).finally(() => socket.destroy()) as Promise<boolean>;
}

function checkHealth(client: Client, service: string): Promise<string> {
  const { path, requestSerialize, responseDeserialize } = healthService['Check']!;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, { service }, (error, response) => {
      if (error === null) resolve((response as { status: string }).status);
      else reject(error);
    });
  });
}

/** Asks one thing of the reflection service, whose messages are few enough to be read by hand. */
async function reflect(
  address: string,
  ask: (writer: BinaryWriter) => BinaryWriter,
): Promise<{ services: string[]; files: Uint8Array[] }> {
  const client = new Client(address, credentials.createInsecure());
  const same = (bytes: Buffer) => bytes;
  const stream = client.makeBidiStreamRequest('/grpc.reflection.v1.ServerReflection/ServerReflectionInfo', same, same);
  stream.write(Buffer.from(ask(new BinaryWriter()).finish()));
  const [response] = (await once(stream, 'data')) as [Buffer];
  stream.end();
  client.close();
  const services = fields(response, 6).flatMap((list) => fields(list, 1).flatMap((one) => fields(one, 1)));
  const files = fields(response, 4).flatMap((list) => fields(list, 1));
  return { services: services.map((name) => Buffer.from(name).toString()), files };
}

function fields(message: Uint8Array, wanted: number): Uint8Array[] {
  const reader = new BinaryReader(message);
  const found: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (number === wanted && type === WireType.LengthDelimited) found.push(reader.bytes());
    else reader.skip(type);
  }
  return found;
}
