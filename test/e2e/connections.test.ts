// Connections that break without a word: who waits at one finds out, and goes on with another.
import { createNodeClient } from '@conveyor/client/node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startProxy } from '../../packages/server/src/store/testing/proxy.ts';
import { startSystem, type System } from './system.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem({ replicas: 1 });
});
afterAll(() => system[Symbol.asyncDispose]());

test('a client whose server is gone without a word connects again', async () => {
  const [host = '', port = ''] = system.replicas[0]!.ready.grpcAddress.split(':');
  await using proxy = await startProxy({ host, port: Number(port) });
  const token = await system.token('operator');
  const client = createNodeClient({ address: proxy.address, token, timeoutMs: 1_000, retries: 0 });
  await client.server.info();
  expect(proxy.dangle()).toBe(1);
  await expect(client.server.info()).rejects.toMatchObject({ code: 'deadline_exceeded' });
  await expect
    .poll(
      () =>
        client.server.info().then(
          () => true,
          () => false,
        ),
      { timeout: 20_000 },
    )
    .toBe(true);
});
