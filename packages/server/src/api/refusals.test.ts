// What bad input, unknown callers, refusals of the engine and defects look like from outside: the same over every protocol.
import { readFileSync } from 'node:fs';
import { Code, createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DriverService } from '@conveyor/protocol/conveyor/v1/driver_service_pb.js';
import { ErrorReason } from '@conveyor/protocol/conveyor/v1/error_pb.js';
import { JobService } from '@conveyor/protocol/conveyor/v1/job_service_pb.js';
import { PipelineService } from '@conveyor/protocol/conveyor/v1/pipeline_service_pb.js';
import { RunService } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { ServerService } from '@conveyor/protocol/conveyor/v1/server_service_pb.js';
import { invalidFields, RefusedError, type RefusalReason } from '../core/refusal.ts';
import { codeOf } from './call-error.ts';
import { call, refusalOf } from './testing/any-call.ts';
import { BAD_INPUT, byName, deep, TOO_DEEP } from './testing/bad-input.ts';
import { openTestDoors, PROTOCOLS, type TestDoors } from './testing/test-doors.ts';
import { JOB_ID } from './testing/sample-jobs.ts';
import { RUN_ID } from './testing/sample-runs.ts';
import { createTestEngine, DRIVER_TOKEN, type TestEngine } from './testing/test-engine.ts';

let engine: TestEngine;
let doors: TestDoors;
beforeAll(async () => {
  engine = createTestEngine();
  doors = await openTestDoors(engine);
});
afterAll(() => doors[Symbol.asyncDispose]());

const { method: pipelines } = PipelineService;
const { method: runs } = RunService;
const { method: jobs } = JobService;
const { method: drivers } = DriverService;

describe.each(PROTOCOLS)('over %s', (protocol) => {
  it.each(BAD_INPUT)('%s is refused', async (_, method, request, field) => {
    const before = engine.asked.length;
    const { code, reason, domain, violations } = await refusalOf(call(doors.transports()[protocol], method, request));
    expect({ code, domain }).toEqual({ code: Code.InvalidArgument, domain: 'conveyor.dev' });
    expect(reason).toBe(['page_token', 'cursor'].includes(field) ? 'INVALID_CURSOR' : 'INVALID_FIELD');
    expect(violations).toContainEqual({ field, description: expect.stringMatching(/./) });
    expect(engine.asked).toHaveLength(before);
  });

  it.each(TOO_DEEP)('%s of too many levels are refused', async (_, method, request, field) => {
    const before = engine.asked.length;
    const { code, reason, message } = await refusalOf(call(doors.transports()[protocol], method, request));
    expect({ code, reason }).toEqual({ code: Code.InvalidArgument, reason: 'INVALID_FIELD' });
    expect(message).toMatch(/too deep: at most 25 lists and objects may be inside of each other.*; flatten it/);
    expect(message).toContain(field);
    expect(engine.asked).toHaveLength(before);
  });

  it('what is too deep to be read is refused', async () => {
    const request = { run: { source: byName, params: deep(600) } };
    const before = engine.asked.length;
    const refusal = await refusalOf(call(doors.transports()[protocol], runs.createRun, request));
    expect(engine.asked).toHaveLength(before);
    // At these two doors the library answers by itself, before anybody else has a word.
    if (protocol === 'Connect binary' || protocol === 'gRPC-Web') return expect(refusal.code).toBe(Code.Internal);
    expect(refusal).toMatchObject({ code: Code.InvalidArgument, reason: 'INVALID_FIELD' });
    expect(refusal.message).toMatch(/request.* is too deep: at most 25 lists and objects/);
  });

  it('a call without a token is refused', async () => {
    const transport = doors.transports(null)[protocol];
    expect(await refusalOf(call(transport, runs.getRun, { runId: RUN_ID }))).toMatchObject({
      code: Code.Unauthenticated,
      reason: 'TOKEN_INVALID',
      message: expect.stringContaining('authorization: Bearer'),
    });
  });

  it('a call with an unknown token is refused', async () => {
    const transport = doors.transports('guess')[protocol];
    const refusal = await refusalOf(call(transport, ServerService.method.getServerInfo, {}));
    expect(refusal).toMatchObject({ code: Code.Unauthenticated, reason: 'TOKEN_INVALID' });
    expect(JSON.stringify(refusal)).not.toContain('guess');
  });

  it('a driver token reads what the server is, and nothing else', async () => {
    const transport = doors.transports(DRIVER_TOKEN)[protocol];
    await call(transport, ServerService.method.getServerInfo, {});
    for (const [method, request] of [
      [runs.createRun, { run: { source: byName } }],
      [runs.watchRuns, {}],
      [drivers.watchDemand, {}],
      [drivers.listDrivers, {}],
    ] as const) {
      expect(await refusalOf(call(transport, method, request))).toMatchObject({
        code: Code.PermissionDenied,
        reason: 'TOKEN_FORBIDS',
      });
    }
  });

  it('another project is refused', async () => {
    const request = { project: 'other', runId: RUN_ID };
    expect(await refusalOf(call(doors.transports()[protocol], runs.getRun, request))).toMatchObject({
      code: Code.PermissionDenied,
      reason: 'TOKEN_FORBIDS',
    });
  });

  it('a message over the limit is refused', async () => {
    const request = { job: { name: 'a', driver: 'd', spec: { x: 'y'.repeat(2_097_152) } } };
    expect(await refusalOf(call(doors.transports()[protocol], jobs.createJob, request))).toMatchObject({
      code: Code.ResourceExhausted,
      reason: 'LIMIT_REACHED',
      metadata: { limit: 'max_request_bytes', max: '1048576' },
    });
  });

  it('a page token works for its own list only', async () => {
    const transport = doors.transports()[protocol];
    const first = await call(transport, runs.listRuns, { filter: { pipeline: 'ci' }, pageSize: 1 });
    const { nextPageToken: pageToken } = first as unknown as { nextPageToken: string };
    await call(transport, runs.listRuns, { filter: { pipeline: 'ci' }, pageToken, pageSize: 7 });
    expect(engine.asked.at(-1)?.args[2]).toEqual({ size: 7, after: '7' });
    expect(await refusalOf(call(transport, runs.listRuns, { pageToken }))).toMatchObject({ reason: 'INVALID_CURSOR' });
    expect(await refusalOf(call(transport, drivers.listDrivers, { pageToken }))).toMatchObject({
      reason: 'INVALID_CURSOR',
    });
  });

  it.each([
    ['jobs', jobs.listJobs, { runId: RUN_ID, atSeq: 7n }, { atSeq: 8n }],
    ['jobs, and not for those of now', jobs.listJobs, { runId: RUN_ID, atSeq: 7n }, { atSeq: 0n }],
    ['jobs of now, and not for those of then', jobs.listJobs, { runId: RUN_ID }, { atSeq: 7n }],
    ['attempts', jobs.listAttempts, { jobId: JOB_ID, atSeq: 7n }, { atSeq: 8n }],
    ['a group', jobs.getConcurrencyGroup, { key: 'deploy' }, { key: 'other' }],
    ['differences', runs.diffRun, { runId: RUN_ID, fromSeq: 1n, toSeq: 7n }, { toSeq: 8n }],
    ['differences, and not for those from elsewhere', runs.diffRun, { runId: RUN_ID, fromSeq: 1n }, { fromSeq: 2n }],
  ])('a page token works at its own point only: %s', async (_, method, request, change) => {
    const transport = doors.transports()[protocol];
    const { nextPageToken: pageToken } = (await call(transport, method, request)) as unknown as {
      nextPageToken: string;
    };
    await call(transport, method, { ...request, pageToken });
    expect(engine.asked.at(-1)?.args).toContainEqual({ size: 100, after: expect.stringMatching(/./) });
    expect(await refusalOf(call(transport, method, { ...request, ...change, pageToken }))).toMatchObject({
      reason: 'INVALID_CURSOR',
    });
  });
});

const REASONS = Object.keys(ErrorReason).filter((name): name is RefusalReason => /^[A-Z_]+$/.test(name));
const OF_API = ['UNSPECIFIED', 'INTERNAL', 'UNIMPLEMENTED', 'DEADLINE_EXCEEDED', 'CALL_CANCELLED'];
describe.each(REASONS.filter((reason) => !OF_API.includes(reason)))('a refusal of the engine: %s', (refused) => {
  it.each(PROTOCOLS)('reaches the caller over %s', async (protocol) => {
    const refusal = { refused, message: 'nö: 100 % "so"\nnot', metadata: { of: 'x' } };
    const refuse = (): never => {
      throw new RefusedError(refusal);
    };
    await using own = await openTestDoors(createTestEngine({ runs: { get: async () => refuse(), watch: refuse } }));
    const transport = own.transports()[protocol];
    for (const method of [runs.getRun, runs.watchRun]) {
      expect(await refusalOf(call(transport, method, { runId: RUN_ID }))).toMatchObject({
        code: codeOf(refused),
        reason: refused,
        message: refusal.message,
        metadata: refusal.metadata,
      });
    }
  });
});

describe('a lone job that is refused as the run that it would be', () => {
  it.each(PROTOCOLS)('is told of the fields of its own request, over %s', async (protocol) => {
    const violations = [
      'run.definition.jobs[0].spec.cmd',
      'run.definition.jobs',
      'run.params.a',
      'run.labels["run.x"]',
    ].map((field) => ({ field, description: 'is wrong' }));
    const create = () => Promise.reject(new RefusedError(invalidFields(violations)));
    await using own = await openTestDoors(createTestEngine({ runs: { create } }));
    const request = { job: { name: 'a', driver: 'd' } };
    const refusal = await refusalOf(call(own.transports()[protocol], jobs.createJob, request));
    const fields = ['job.spec.cmd', 'job', 'params.a', 'labels["run.x"]'];
    expect(refusal.violations.map(({ field }) => field)).toEqual(fields);
    expect(refusal.message).toContain('job.spec.cmd: is wrong (and 3 more)');
    expect(refusal.message).not.toContain('definition');
  });
});

describe('a defect', () => {
  it.each(PROTOCOLS)('is told by an id that the log holds, over %s', async (protocol) => {
    const get = async (): Promise<never> => {
      throw new TypeError('secret detail');
    };
    await using own = await openTestDoors(createTestEngine({ runs: { get } }));
    const refusal = await refusalOf(call(own.transports()[protocol], runs.getRun, { runId: RUN_ID }));
    expect(refusal).toMatchObject({ code: Code.Internal, reason: 'INTERNAL' });
    expect(JSON.stringify(refusal)).not.toContain('secret detail');
    const id = refusal.metadata?.['id'] ?? 'none';
    expect(refusal.message).toContain(id);
    expect(own.logged.filter((line) => line.includes(id) && line.includes('secret detail'))).toHaveLength(1);
  });
});

describe('many wrong fields', () => {
  it.each(PROTOCOLS)('fit into what a client takes, over %s', async (protocol) => {
    const wrong = Array.from({ length: 500 }, (_, i) => ({ name: `job-${i}`, driver: 'shell', needs: ['nowhere'] }));
    const request = { name: 'ci', definition: { jobs: wrong } };
    const { violations, message } = await refusalOf(
      call(doors.transports()[protocol], pipelines.applyPipeline, request),
    );
    expect(violations[0]).toMatchObject({ field: 'definition.jobs[0].needs[0]' });
    expect(violations.at(-1)?.description).toMatch(/^at least [0-9]+ more fields are wrong$/);
    expect(JSON.stringify(violations).length + message.length).toBeLessThan(6_000);
  });
});

it.each(PROTOCOLS)('what is wrong in a text is told with its place, over %s', async (protocol) => {
  const spec = { text: 'say ${{ foo() }}' };
  const request = { name: 'ci', definition: { jobs: [{ name: '', driver: 'shell', if: 'true && parms.x', spec }] } };
  const transport = doors.transports()[protocol];
  const { violations, places } = await refusalOf(call(transport, pipelines.applyPipeline, request));
  expect(violations).toEqual([
    { field: 'definition.jobs[0].name', description: expect.stringMatching(/^is required/) },
    {
      field: 'definition.jobs[0].if',
      description: expect.stringMatching(/^at column 9: there is no variable "parms"/),
    },
    { field: 'definition.jobs[0].spec.text', description: 'at column 9: there is no function "foo"' },
  ]);
  expect(places).toMatchObject([
    { violation: 1, offset: 8 },
    { violation: 2, offset: 8 },
  ]);
});

it('a definition that only JSON can hold is refused', async () => {
  const spec = { ones: Array.from({ length: 30_000 }, () => 1) };
  const jobs = Array.from({ length: 5 }, (_, i) => ({ name: `job-${i}`, driver: 'shell', spec }));
  const transport = doors.transports()['Connect JSON'];
  const { violations } = await refusalOf(
    call(transport, pipelines.applyPipeline, { name: 'ci', definition: { jobs } }),
  );
  expect(violations).toContainEqual({ field: 'definition', description: expect.stringContaining('in binary form') });
});

it('driver sessions are refused where they cannot be served', async () => {
  const client = createClient(DriverService, doors.api.transport);
  async function* nothing() {}
  expect(await refusalOf(Array.fromAsync(client.session(nothing())))).toMatchObject({
    code: Code.Unimplemented,
    reason: 'UNIMPLEMENTED',
    message: expect.stringContaining('native gRPC'),
  });
});

it('every reason is documented with its code', () => {
  const page = readFileSync(new URL('../../../../docs/api.md', import.meta.url), 'utf8');
  const documented = [...page.matchAll(/^\| `([A-Z_]+)` +\| ([A-Z_]+) /gm)].map(([, reason, code]) => [reason, code]);
  const names: Record<string, string> = { Canceled: 'CANCELLED' };
  const screaming = (code: Code) => names[Code[code]] ?? Code[code].replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase();
  const expected = REASONS.filter((reason) => !OF_API.includes(reason)).map((reason) => [
    reason,
    screaming(codeOf(reason)),
  ]);
  expect(documented).toEqual(expect.arrayContaining(expected));
  expect(documented).toHaveLength(REASONS.length - 1);
});

it('logs neither tokens nor payloads', async () => {
  await using own = await openTestDoors(createTestEngine());
  const params = { password: 'hunter2' };
  for (const protocol of PROTOCOLS) {
    await call(own.transports()[protocol], runs.createRun, { run: { source: byName, params } });
    await refusalOf(call(own.transports('guess')[protocol], runs.createRun, { run: { source: byName, params } }));
  }
  expect(own.logged.length).toBeGreaterThanOrEqual(8);
  expect(own.logged.join()).not.toMatch(/hunter2|operator-token|guess/);
});
