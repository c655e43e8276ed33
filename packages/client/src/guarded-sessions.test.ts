import { once } from 'node:events';
import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { GuardedSessions } from './guarded-sessions.ts';

const PING_MS = 20;

test('a ping to a connection that is gone is no error', async () => {
  const server = createServer().on('stream', (stream) => stream.respond());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const sessions = new GuardedSessions(`http://127.0.0.1:${port}`);
  try {
    const stream = await sessions.request('POST', '/', {}, {});
    await once(stream, 'response');
    const { session } = stream;
    session?.destroy();
    await once(stream, 'close');
    expect(session?.ping(() => undefined)).toBe(false);
  } finally {
    server.close();
  }
});

test('one that lives is pinged', async () => {
  const pinged = Promise.withResolvers<void>();
  const server = createServer()
    .on('stream', (stream) => stream.respond(undefined, { endStream: true }))
    .on('session', (session) => session.once('ping', () => pinged.resolve()));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const sessions = new GuardedSessions(`http://127.0.0.1:${port}`, {
    pingIntervalMs: PING_MS,
    pingIdleConnection: true,
  });
  try {
    const stream = await sessions.request('POST', '/', {}, {});
    stream.resume().end();
    await Promise.all([once(stream, 'close'), pinged.promise]);
    stream.session?.close();
  } finally {
    server.close();
  }
});
