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

test('a client whose server is gone without a word connects again, however many of its calls wait for it', async () => {
  const [host = '', port = ''] = system.replicas[0]!.ready.grpcAddress.split(':');
  await using proxy = await startProxy({ host, port: Number(port) });
  const token = await system.token('operator');
  const client = createNodeClient({ address: proxy.address, token, timeoutMs: 1_000, retries: 0 });
  await client.server.info();
  expect(proxy.dangle()).toBe(1);
  let answered = 0;
  let failed = 0;
  const calls = setInterval(() => {
    client.server.info().then(
      () => answered++,
      () => failed++,
    );
  }, 200);
  await expect.poll(() => answered, { timeout: 25_000 }).toBeGreaterThan(0);
  clearInterval(calls);
  expect(failed).toBeGreaterThan(5);
});
