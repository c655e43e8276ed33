// What work declares to have made, and how that travels.
import { create } from '@bufbuild/protobuf';
import { VerdictKind, VerdictSchema } from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { status } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import type { JobArtifact } from '@conveyor/driver';
import { startDriver, startServer, working } from './fixture.ts';

const capabilities = ['artifacts'];
const digest = `sha256:${'0a'.repeat(32)}`;
const app: JobArtifact = { name: 'app', digest, size: 1_024, uri: 's3://builds/app', mediaType: 'application/gzip' };

test('artifacts are numbered in the order of the calls, and said before the result', async () => {
  const { session, work, context } = await working({ capabilities });
  expect(session.hello.capabilities).toContain('artifacts');
  context.artifact(app);
  context.artifact({ name: 'sum', digest: 'crc32c:00ff00ff', size: 0 });
  work.finish();
  await session.next('finish');
  const of = { attemptId: 'a', fence: 1 };
  const { size, ...said } = app;
  expect(session.arrived('declareArtifact')).toMatchObject([
    { ...of, number: 1, artifact: { ...said, sizeBytes: BigInt(size) } },
    { ...of, number: 2, artifact: { name: 'sum', digest: 'crc32c:00ff00ff', sizeBytes: 0n, uri: '', mediaType: '' } },
  ]);
  const order = session.messages.flat();
  expect(order.lastIndexOf('declareArtifact')).toBeLessThan(order.indexOf('finish'));
});

test('artifacts are said again, with the same numbers, in the next session', async () => {
  const { server, session, context } = await working({ capabilities });
  context.artifact(app);
  const said = await session.next('declareArtifact');
  session.fail(status.UNAVAILABLE, 'gone');
  const next = await server.session();
  next.welcome({
    capabilities,
    verdicts: [create(VerdictSchema, { attemptId: 'a', fence: 1, kind: VerdictKind.KEEP })],
  });
  expect(await next.next('declareArtifact')).toEqual(said);
  context.artifact(app);
  expect(await next.next('declareArtifact')).toMatchObject({ number: 2 });
});

test('adopted work goes on behind those of the earlier process', async () => {
  const server = await startServer();
  startDriver([server], { run: async () => {}, adopt: async ({ artifact }) => artifact(app) });
  const session = await server.session();
  session.welcome({ capabilities, orphans: [{ offer: { attemptId: 'a', fence: 1 } }] });
  await session.next('adopt');
  session.send({ case: 'start', value: { attemptId: 'a', fence: 1, resumed: true, artifacts: 6 } });
  expect(await session.next('declareArtifact')).toMatchObject({ number: 7 });
});

test.each<[string, Partial<JobArtifact>, RegExp]>([
  ['no name', { name: '' }, /name has 0 characters/],
  ['a long name', { name: 'x'.repeat(257) }, /name has 257 characters/],
  ['NUL in the name', { name: 'a\0' }, /NUL/],
  ['a digest without algorithm', { digest: '0a'.repeat(32) }, /algorithm:hex/],
  ['a short sha256', { digest: `sha256:${'0a'.repeat(31)}` }, /64 digits/],
  ['a negative size', { size: -1 }, /size -1/],
  ['a part of a byte', { size: 0.5 }, /size 0.5/],
  ['a relative URI', { uri: 'builds/app' }, /absolute URI/],
  ['half a media type', { mediaType: 'gzip' }, /type\/subtype/],
])('%s is refused here, and counts for nothing', async (_, change, message) => {
  const { session, context } = await working({ capabilities });
  expect(() => context.artifact({ ...app, ...change })).toThrow(RangeError);
  expect(() => context.artifact({ ...app, ...change })).toThrow(message);
  context.artifact(app);
  expect(await session.next('declareArtifact')).toMatchObject({ number: 1 });
});

test('more than 1,000 are refused', async () => {
  const { context } = await working({ capabilities });
  for (let number = 1; number <= 1_000; number++) context.artifact(app);
  expect(() => context.artifact(app)).toThrow('at most 1000 artifacts');
});

test('a control plane that does not know artifacts is told of none', async () => {
  const { session, work, context } = await working({ capabilities: [] });
  expect(() => context.artifact(app)).toThrow('does not know artifacts');
  work.finish();
  await session.next('finish');
  expect(session.arrived('declareArtifact')).toEqual([]);
});
