// Owns what is checked of the contract with grpcurl and `buf curl`: that it can be listed, described and called without a line
// of generated code, and that errors say why in words that those programs can show.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { ServerProcess } from '../bench/server-process.ts';
import { type Caller, type Grpcurl, createBufCurl, createGrpcurl } from './callers.ts';
import type { Checklist } from './checklist.ts';
import { callEveryMethod } from './every-method.ts';

const limitMs = 90_000;

const services = ['DriverService', 'JobService', 'PipelineService', 'RunService', 'ScheduleService', 'ServerService'];

/** Everything that needs nothing but what the repository installs. */
export async function checkWithBufCurl(checklist: Checklist, server: ServerProcess): Promise<void> {
  const grpc = createBufCurl(server.grpcAddress, 'grpc');
  await checkServices(checklist, grpc);
  await checkCalls(checklist, grpc, server);
  for (const protocol of ['connect', 'grpcweb'] as const) {
    const caller = createBufCurl(server.httpAddress, protocol);
    await checkErrors(checklist, caller, server);
  }
}

export async function checkWithGrpcurl(checklist: Checklist, server: ServerProcess, program: string): Promise<void> {
  const grpcurl = createGrpcurl(program, server.grpcAddress);
  await checkServices(checklist, grpcurl);
  await checkDescriptions(checklist, grpcurl);
  await checkHealth(checklist, grpcurl);
  await checkCalls(checklist, grpcurl, server);
}

async function checkServices(checklist: Checklist, caller: Caller): Promise<void> {
  await checklist.check(`${caller.name} lists the services`, limitMs, async (signal) => {
    const listed = await caller.listServices({ signal });
    for (const service of services) assert.ok(listed.includes(`conveyor.v1.${service}`), listed.join(' '));
    assert.ok(listed.includes('grpc.health.v1.Health'), listed.join(' '));
  });
}

async function checkDescriptions(checklist: Checklist, grpcurl: Grpcurl): Promise<void> {
  await checklist.check(`${grpcurl.name} describes services, methods and messages`, limitMs, async (signal) => {
    for (const service of services) {
      const source = await grpcurl.describe(`conveyor.v1.${service}`, { signal });
      assert.match(source, new RegExp(`^service ${service} \\{$`, 'm'));
    }
    const method = await grpcurl.describe('conveyor.v1.DriverService.Session', { signal });
    assert.match(
      method,
      /rpc Session \( stream \.conveyor\.v1\.SessionRequest \) returns \( stream \.conveyor\.v1\.SessionResponse \)/,
    );
    const message = await grpcurl.describe('conveyor.v1.Hello', { signal });
    assert.match(message, /repeated \.conveyor\.v1\.HeldAttempt held = 9;/);
  });
}

async function checkHealth(checklist: Checklist, grpcurl: Grpcurl): Promise<void> {
  await checklist.check(`${grpcurl.name} finds the server healthy, without a token`, limitMs, async (signal) => {
    const { code, messages } = await grpcurl.call('grpc.health.v1.Health/Check', [{}], { signal });
    assert.deepEqual({ code, status: messages[0]?.['status'] }, { code: 0, status: 'SERVING' });
  });
}

async function checkCalls(checklist: Checklist, caller: Caller, server: ServerProcess): Promise<void> {
  await checklist.check(`${caller.name} calls every method of every service`, limitMs, async (signal) => {
    await callEveryMethod(caller, { signal, token: server.operatorToken });
  });
  await checkErrors(checklist, caller, server);
}

async function checkErrors(checklist: Checklist, caller: Caller, server: ServerProcess): Promise<void> {
  await checklist.check(`${caller.name} shows why a call was refused`, limitMs, async (signal) => {
    const refusals = [
      { request: { runId: randomUUID() }, token: server.operatorToken, code: 5, reason: 'RUN_NOT_FOUND' },
      { request: { runId: 'no uuid' }, token: server.operatorToken, code: 3, reason: 'INVALID_FIELD' },
      { request: {}, token: 'not-a-token', code: 16, reason: 'TOKEN_INVALID' },
      { request: {}, token: server.driverToken, code: 7, reason: 'TOKEN_FORBIDS' },
    ];
    for (const { request, token, ...due } of refusals) {
      const { code, reason } = await caller.call('conveyor.v1.RunService/GetRun', [request], { signal, token });
      assert.deepEqual({ code, reason }, due);
    }
  });
}
