import { spawnSync } from 'node:child_process';
import { Code, ConnectError } from '@connectrpc/connect';
import { PipelineService } from '@conveyor/protocol/conveyor/v1/pipeline_service_pb.js';
import { RunService } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { ServerService } from '@conveyor/protocol/conveyor/v1/server_service_pb.js';
import { describe, expect, it } from 'vitest';
import { createClient } from './client.ts';
import { ConveyorError } from './error.ts';
import { clientThrough, doors } from './testing/doors.ts';
import { refusal } from './testing/refusal.ts';
import { startScriptedServer } from './testing/scripted-server.ts';
import type { Warning } from './warning.ts';

describe.each(doors)('a call over %s', (door) => {
  it('carries the token and the project', async () => {
    await using server = await startScriptedServer((router) =>
      router.service(RunService, {
        getRun: ({ project, runId }, { requestHeader }) => ({
          run: { runId, project, labels: { authorization: requestHeader.get('authorization') ?? '' } },
        }),
      }),
    );
    const client = clientThrough(door, server, { token: 'secret', project: 'acme' });
    expect(await client.runs.get('r')).toMatchObject({
      runId: 'r',
      project: 'acme',
      labels: { authorization: 'Bearer secret' },
    });
  });

  it('throws what the server said: code, reason, metadata and wrong fields', async () => {
    const fields = [
      { field: 'definition.jobs[0].needs[0]', description: 'no job is called "tset"' },
      { field: 'definition.jobs[0].if', description: 'at column 1: there is no variable "parms"', offset: 0 },
      { field: 'definition.jobs[0].if', description: 'at column 12: there is no variable "quux"', offset: 11 },
    ];
    await using server = await startScriptedServer((router) =>
      router.service(PipelineService, {
        applyPipeline() {
          const details = { metadata: { limit: 'jobs' }, fields };
          throw refusal('invalid_argument', 'INVALID_FIELD', 'the definition is wrong', details);
        },
      }),
    );
    const error: unknown = await clientThrough(door, server)
      .pipelines.apply({ name: 'ci', definition: {} })
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ConveyorError);
    expect(error).toMatchObject({
      code: 'invalid_argument',
      reason: 'INVALID_FIELD',
      message: 'the definition is wrong',
      metadata: { limit: 'jobs' },
      fieldViolations: fields,
      retryable: false,
    });
  });

  it('repeats a create that broke, with the request id of its first try', async () => {
    const requestIds: string[] = [];
    await using server = await startScriptedServer((router) =>
      router.service(RunService, {
        createRun({ requestId }) {
          requestIds.push(requestId);
          if (requestIds.length < 3) server.cutConnections();
          const warningDetails = [{ field: 'run.definition.jobs[0].driver', message: 'nobody has connected' }];
          return { run: { runId: 'r' }, warnings: ['nobody has connected'], warningDetails };
        },
      }),
    );
    const client = clientThrough(door, server);
    const warnings: Warning[] = [];
    const onWarning = (warning: Warning) => warnings.push(warning);
    expect(await client.runs.create({ pipeline: 'ci' }, { onWarning })).toMatchObject({ runId: 'r' });
    expect(warnings).toEqual([{ field: 'run.definition.jobs[0].driver', message: 'nobody has connected' }]);
    expect(requestIds).toHaveLength(3);
    expect(new Set(requestIds).size).toBe(1);
    await client.runs.create({ pipeline: 'ci' });
    expect(requestIds[3]).not.toBe(requestIds[0]);
    await client.runs.create({ pipeline: 'ci', requestId: 'mine' });
    expect(requestIds[4]).toBe('mine');
  });

  it('gives every run of a batch a request id of its own', async () => {
    const requestIds: string[] = [];
    await using server = await startScriptedServer((router) =>
      router.service(RunService, {
        batchCreateRuns({ items }) {
          requestIds.push(...items.map(({ requestId }) => requestId));
          return { results: items.map(() => ({ outcome: { case: 'runId' as const, value: 'r' } })) };
        },
      }),
    );
    await clientThrough(door, server).runs.createBatch([{ pipeline: 'a' }, { pipeline: 'b', requestId: 'mine' }]);
    expect(requestIds[0]).toMatch(/^[\da-f]{32}$/);
    expect(requestIds[1]).toBe('mine');
  });

  it('does not repeat a change that the server would make twice', async () => {
    let calls = 0;
    await using server = await startScriptedServer((router) =>
      router.service(PipelineService, {
        deletePipeline() {
          calls += 1;
          throw new ConnectError('going away', Code.Unavailable);
        },
      }),
    );
    const deleted = clientThrough(door, server).pipelines.delete('ci');
    await expect(deleted).rejects.toMatchObject({ code: 'unavailable', retryable: true });
    expect(calls).toBe(1);
  });

  it('gives up after its retries', async () => {
    let calls = 0;
    await using server = await startScriptedServer((router) =>
      router.service(ServerService, {
        getServerInfo() {
          calls += 1;
          throw refusal('unavailable', 'SERVER_STOPPING', 'stopping');
        },
      }),
    );
    const info = clientThrough(door, server, { retries: 1 }).server.info();
    await expect(info).rejects.toMatchObject({ reason: 'SERVER_STOPPING' });
    expect(calls).toBe(2);
  });

  it('ends at its deadline, over all its tries', async () => {
    const hang = () => new Promise<never>(() => {});
    await using server = await startScriptedServer((router) => router.service(ServerService, { getServerInfo: hang }));
    const info = clientThrough(door, server, { timeoutMs: 50 }).server.info();
    await expect(info).rejects.toMatchObject({ code: 'deadline_exceeded' });
  });

  it("ends with the reason of its caller's signal", async () => {
    const called = Promise.withResolvers<void>();
    await using server = await startScriptedServer((router) =>
      router.service(ServerService, {
        getServerInfo() {
          called.resolve();
          return new Promise<never>(() => {});
        },
      }),
    );
    const controller = new AbortController();
    const info = clientThrough(door, server).server.info({ signal: controller.signal });
    await called.promise;
    const reason = new Error('changed my mind');
    controller.abort(reason);
    await expect(info).rejects.toBe(reason);
  });

  it('says that no server is there', async () => {
    const server = await startScriptedServer(() => {});
    await server[Symbol.asyncDispose]();
    const info = clientThrough(door, server, { retries: 0 }).server.info();
    await expect(info).rejects.toMatchObject({ code: 'unavailable', retryable: true, reason: undefined });
    await expect(info).rejects.toThrow('ECONNREFUSED');
  });

  it('fetches the pages of a list only as its reader gets there', async () => {
    const tokens: string[] = [];
    await using server = await startScriptedServer((router) =>
      router.service(RunService, {
        listRuns({ pageToken, pageSize, filter }) {
          tokens.push(pageToken);
          const page = Number(pageToken || '0');
          expect({ pageSize, pipeline: filter?.pipeline }).toEqual({ pageSize: 2, pipeline: 'ci' });
          return {
            runs: [{ runId: `${page}a` }, { runId: `${page}b` }],
            nextPageToken: page < 2 ? String(page + 1) : '',
          };
        },
      }),
    );
    const list = () => clientThrough(door, server).runs.list({ pipeline: 'ci' }, { pageSize: 2 });
    const runs = await Array.fromAsync(list());
    expect(runs.map(({ runId }) => runId)).toEqual(['0a', '0b', '1a', '1b', '2a', '2b']);
    expect(tokens).toEqual(['', '1', '2']);
    for await (const _ of list()) break;
    expect(tokens).toEqual(['', '1', '2', '']);
  });
});

describe('the main entry', () => {
  it('imports nothing that browsers do not have', () => {
    const script = `
      import { registerHooks } from 'node:module';
      registerHooks({
        resolve(specifier, context, next) {
          const resolved = next(specifier, context);
          if (resolved.url.startsWith('node:')) throw new Error(context.parentURL + ' imports ' + specifier);
          return resolved;
        },
      });
      await import(process.argv[1]);`;
    const load = (entry: string) => {
      const url = new URL(entry, import.meta.url).href;
      const args = ['--conditions=source', '--input-type=module', '--eval', script, url];
      return spawnSync(process.execPath, args, { encoding: 'utf8' });
    };
    expect(load('./index.ts')).toMatchObject({ status: 0, stderr: '' });
    expect(load('./node.ts').stderr).toContain('imports node:fs');
  });

  it('takes any transport', async () => {
    await using server = await startScriptedServer((router) =>
      router.service(ServerService, { getServerInfo: () => ({ version: '1.2.3' }) }),
    );
    const { createConnectTransport } = await import('@connectrpc/connect-web');
    const client = createClient({ transport: createConnectTransport({ baseUrl: server.httpAddress }) });
    expect((await client.server.info()).version).toBe('1.2.3');
  });
});
