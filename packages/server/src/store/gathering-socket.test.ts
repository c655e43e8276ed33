import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { GatheringSocket } from './gathering-socket.ts';

test('what is written in one turn is sent together, in order, and what comes later by itself', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = new GatheringSocket();
  onTestFinished(() => {
    socket.destroy();
    server.close();
  });
  const accepted = once(server, 'connection');
  socket.connect((server.address() as AddressInfo).port, '127.0.0.1');
  await once(socket, 'connect');
  const [peer] = (await accepted) as [Socket];
  const flushed: string[] = [];
  const write = socket._writev!.bind(socket);
  socket._writev = (chunks, done) => {
    flushed.push(chunks.map(({ chunk }) => String(chunk)).join(''));
    write(chunks, done);
  };
  for (const statement of ['a', 'b']) {
    socket.cork();
    socket.write(`${statement}1 `);
    socket.write(`${statement}2 `);
    socket.uncork();
  }
  expect(flushed).toEqual([]);
  expect(String((await once(peer, 'data'))[0])).toBe('a1 a2 b1 b2 ');
  socket.cork();
  socket.write('c1 ');
  socket.write('c2 ');
  socket.uncork();
  expect(String((await once(peer, 'data'))[0])).toBe('c1 c2 ');
  expect(flushed).toEqual(['a1 a2 b1 b2 ', 'c1 c2 ']);
});
