// Every call of the contract, by every protocol: the same request reaches the engine and the same answer comes back.
import { equals, toJson } from '@bufbuild/protobuf';
import { DriverService } from '@conveyor/protocol/conveyor/v1/driver_service_pb.js';
import { RunService } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { ServerService } from '@conveyor/protocol/conveyor/v1/server_service_pb.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SERVICES } from './services.ts';
import { call } from './testing/any-call.ts';
import { DRIVER_CALLS } from './testing/calls/driver-calls.ts';
import { JOB_CALLS } from './testing/calls/job-calls.ts';
import { PIPELINE_CALLS } from './testing/calls/pipeline-calls.ts';
import { RUN_CALLS } from './testing/calls/run-calls.ts';
import { RUN_VALUE_CALLS } from './testing/calls/run-value-calls.ts';
import { SCHEDULE_CALLS } from './testing/calls/schedule-calls.ts';
import { openTestDoors, PROTOCOLS, type TestDoors } from './testing/test-doors.ts';
import { createTestEngine, type TestEngine } from './testing/test-engine.ts';

const CASES = [...PIPELINE_CALLS, ...RUN_CALLS, ...JOB_CALLS, ...RUN_VALUE_CALLS, ...SCHEDULE_CALLS, ...DRIVER_CALLS];

let engine: TestEngine;
let doors: TestDoors;
beforeAll(async () => {
  engine = createTestEngine();
  doors = await openTestDoors(engine);
});
afterAll(() => doors[Symbol.asyncDispose]());

describe.each(CASES.map((one) => [`${one.method.parent.name}.${one.method.name}`, one] as const))('%s', (_, one) => {
  it.each(PROTOCOLS)('answers over %s', async (protocol) => {
    const response = await call(doors.transports()[protocol], one.method, one.request);
    const json = toJson(one.method.output, response);
    expect(json).toMatchObject(one.answered as object);
    for (const path of one.without ?? []) expect(json).not.toHaveProperty(path);
    if (one.method.parent !== ServerService) expect(engine.asked.at(-1)?.args).toEqual(one.asked);
  });

  it('answers the same to every protocol, and in process', async () => {
    const transports = [...Object.values(doors.transports()), doors.api.transport];
    const [first, ...others] = await Promise.all(
      transports.map((transport) => call(transport, one.method, one.request)),
    );
    for (const other of others) expect(equals(one.method.output, first!, other)).toBe(true);
  });
});

it('has a case for every method but sessions', () => {
  const methods = SERVICES.flatMap(({ methods }) => methods);
  const covered = new Set(CASES.map(({ method }) => method));
  expect(methods.filter((method) => !covered.has(method))).toEqual([DriverService.method.session]);
});

it('hands the trace context of a call to the run', async () => {
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const request = { run: { source: { case: 'pipeline', value: { name: 'ci' } } } } as const;
  for (const protocol of PROTOCOLS) {
    await call(doors.transports()[protocol], RunService.method.createRun, request, { headers: { traceparent } });
    expect(engine.asked.at(-1)?.args[1]).toMatchObject({ traceparent });
  }
});
