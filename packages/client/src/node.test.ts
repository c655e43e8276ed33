import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { constants, createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServerService } from '@conveyor/protocol/conveyor/v1/server_service_pb.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createNodeClient, dataDirectory, serverAddress } from './node.ts';
import { type ScriptedServer, startScriptedServer } from './testing/scripted-server.ts';

let server: ScriptedServer;
let dataDir: string;

beforeAll(async () => {
  // Answers with what it was called by: the protocol and the token.
  server = await startScriptedServer((router) =>
    router.service(ServerService, {
      getServerInfo: (_, { protocolName, requestHeader }) => ({
        version: protocolName,
        replica: requestHeader.get('authorization') ?? '',
      }),
    }),
  );
  dataDir = await mkdtemp(join(tmpdir(), 'conveyor-client-'));
  await writeFile(join(dataDir, 'operator.token'), 'from-file\n');
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(dataDir, { recursive: true });
});

async function callWith(env: Record<string, string>, options: { address?: string; token?: string } = {}) {
  const { version: protocol, replica: authorization } = await createNodeClient({ ...options, env }).server.info();
  return { protocol, authorization };
}

describe('a client in Node', () => {
  it('speaks native gRPC to CONVEYOR_ADDRESS', async () => {
    const env = { CONVEYOR_ADDRESS: server.grpcAddress, CONVEYOR_HTTP_ADDRESS: 'http://127.0.0.1:1' };
    expect(await callWith({ ...env, CONVEYOR_TOKEN: 't' })).toEqual({ protocol: 'grpc', authorization: 'Bearer t' });
  });

  it('speaks Connect to CONVEYOR_HTTP_ADDRESS when only that is set', async () => {
    const env = { CONVEYOR_HTTP_ADDRESS: server.httpAddress, CONVEYOR_TOKEN: 't' };
    expect(await callWith(env)).toEqual({ protocol: 'connect', authorization: 'Bearer t' });
  });

  it('prefers its options to the environment', async () => {
    const env = { CONVEYOR_ADDRESS: '127.0.0.1:1', CONVEYOR_TOKEN: 'env' };
    const options = { address: `grpc://${server.grpcAddress}`, token: 'option' };
    expect(await callWith(env, options)).toEqual({ protocol: 'grpc', authorization: 'Bearer option' });
  });

  it('reads the token of a server on this machine from its data directory', async () => {
    const env = { CONVEYOR_ADDRESS: server.grpcAddress, CONVEYOR_DATA_DIR: dataDir };
    expect(await callWith(env)).toMatchObject({ authorization: 'Bearer from-file' });
    expect(await callWith({ ...env, CONVEYOR_DATA_DIR: join(dataDir, 'none') })).toMatchObject({ authorization: '' });
  });

  it('never sends that token to another machine', async () => {
    const sent: (string | null)[] = [];
    const realFetch = globalThis.fetch;
    globalThis.fetch = async (_, init) => {
      sent.push(new Headers(init?.headers).get('authorization'));
      throw new TypeError('no network here');
    };
    try {
      const env = { CONVEYOR_DATA_DIR: dataDir };
      const remote = createNodeClient({ address: 'http://ci.example.com:8080', env, retries: 0 });
      await expect(remote.server.info()).rejects.toMatchObject({ code: 'unavailable' });
      const local = createNodeClient({ address: 'http://localhost:8080', env, retries: 0 });
      await expect(local.server.info()).rejects.toMatchObject({ code: 'unavailable' });
    } finally {
      globalThis.fetch = realFetch;
    }
    expect(sent).toEqual([null, 'Bearer from-file']);
  });

  it('opens a watch again when the server goes away before it takes the stream', async () => {
    let opened = 0;
    const leaving = createServer().on('stream', (stream) => {
      stream.on('error', () => undefined);
      if (++opened < 3) stream.close(constants.NGHTTP2_REFUSED_STREAM);
      else stream.respond({ 'content-type': 'application/grpc+proto', 'grpc-status': '5' }, { endStream: true });
    });
    await once(leaving.listen(0, '127.0.0.1'), 'listening');
    try {
      const client = createNodeClient({ address: `127.0.0.1:${(leaving.address() as AddressInfo).port}`, env: {} });
      const watch = client.runs.watch('r', { initialDelayMs: 1 });
      await expect(Array.fromAsync(watch)).rejects.toMatchObject({ code: 'not_found' });
      expect(opened).toBe(3);
    } finally {
      leaving.close();
    }
  });

  it('has defaults for a server on this machine', () => {
    expect(serverAddress({})).toBe('127.0.0.1:7070');
    expect(serverAddress({ CONVEYOR_ADDRESS: '' })).toBe('127.0.0.1:7070');
    expect(dataDirectory({})).toMatch(/\.conveyor$/);
  });

  it('refuses a file without certificates to trust', async () => {
    const path = join(dataDir, 'operator.token');
    for (const file of [path, join(dataDir, 'none')]) {
      expect(() => createNodeClient({ env: { CONVEYOR_TLS_CA: file } })).toThrow(
        `CONVEYOR_TLS_CA: cannot read certificates from ${file}: name a PEM file with the authorities to trust`,
      );
    }
    expect(await callWith({ CONVEYOR_ADDRESS: server.grpcAddress, CONVEYOR_TLS_CA: '' })).toMatchObject({
      protocol: 'grpc',
    });
  });

  it('refuses an address that is none', () => {
    expect(() => createNodeClient({ address: 'a b:c', env: {} })).toThrow("'a b:c' is no address of a server");
  });
});
