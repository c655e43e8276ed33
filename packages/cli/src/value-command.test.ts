import { fromJson, type JsonValue, toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { refusal, startScriptedServer } from '@conveyor/client/testing';
import { RunValueService } from '@conveyor/protocol/conveyor/v1/run_value_service_pb.js';
import { describe, expect, it } from 'vitest';
import { run } from './testing/run-command.ts';

/** A control plane of one run with these values, and what it was asked to change. */
async function startPlane(stored: Readonly<Record<string, JsonValue>> = {}) {
  const changes: unknown[] = [];
  const message = (key: string) => ({ key, version: 7n, value: fromJson(ValueSchema, stored[key] ?? null) });
  const server = await startScriptedServer((router) => {
    router.service(RunValueService, {
      getRunValue({ key }) {
        if (!(key in stored)) throw refusal('not_found', 'VALUE_NOT_FOUND', `run r has no value ${key}`);
        return { value: message(key) };
      },
      listRunValues: ({ prefix }) => ({
        values: Object.keys(stored)
          .filter((key) => key.startsWith(prefix))
          .map(message),
      }),
      setRunValue({ runId, key, value, expectedVersion }) {
        if (expectedVersion === 3n) throw refusal('aborted', 'VERSION_MISMATCH', `value ${key} has version 7`);
        changes.push({ set: key, runId, to: value && toJson(ValueSchema, value), expectedVersion });
        return { version: 8n };
      },
      deleteRunValue({ key, expectedVersion }) {
        changes.push({ delete: key, expectedVersion });
        return {};
      },
    });
  });
  return Object.assign(server, { changes, env: { CONVEYOR_ADDRESS: server.grpcAddress } });
}

describe('conveyor value', () => {
  it.each([
    ['text', 'text', 'text\n'],
    ['what is no text', { a: [1, null] }, '{"a":[1,null]}\n'],
  ])('get prints %s so that a script can use it', async (_, value, stdout) => {
    await using plane = await startPlane({ gate: value });
    expect(await run(['value', 'get', 'r', 'gate'], plane.env)).toMatchObject({ exitCode: 0, stdout });
    const json = await run(['value', 'get', 'r', 'gate', '-o', 'json'], plane.env);
    expect(JSON.parse(json.stdout)).toMatchObject({ key: 'gate', version: '7', value });
  });

  it('get of what is not there says what to do', async () => {
    await using plane = await startPlane();
    const { exitCode, stderr } = await run(['value', 'get', 'r', 'gate'], plane.env);
    expect(exitCode).toBe(1);
    expect(stderr).toContain('run r has no value gate');
    expect(stderr).toContain('conveyor value list RUN');
  });

  it('list shows keys, versions and the beginnings of values', async () => {
    await using plane = await startPlane({ 'a.gate': 'x'.repeat(200), 'a.n': 1, b: null });
    const { stdout } = await run(['value', 'list', 'r', '--prefix', 'a.'], plane.env);
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^KEY +VERSION +AGE +VALUE$/);
    expect(lines[1]).toMatch(/^a\.gate +7 .*"x+…$/);
    expect(lines[2]).toMatch(/^a\.n +7 .* 1$/);
    expect(lines).toHaveLength(3);
    const json = await run(['value', 'list', 'r', '-o', 'json'], plane.env);
    expect(JSON.parse(json.stdout)).toHaveLength(3);
  });

  it('set takes text and JSON, and what is expected', async () => {
    await using plane = await startPlane();
    const { stdout } = await run(['value', 'set', 'r', 'gate=open=1'], plane.env);
    expect(stdout).toBe('value gate has version 8\n');
    await run(['value', 'set', 'r', 'sizes:=[1,2]', '--expected-version', '0'], plane.env);
    expect(plane.changes).toEqual([
      { set: 'gate', runId: 'r', to: 'open=1', expectedVersion: undefined },
      { set: 'sizes', runId: 'r', to: [1, 2], expectedVersion: 0n },
    ]);
    const { exitCode, stderr } = await run(['value', 'set', 'r', 'gate=x', '--expected-version', '3'], plane.env);
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('read it with `conveyor value get RUN KEY`')]);
  });

  it('delete takes what is expected', async () => {
    await using plane = await startPlane();
    expect(await run(['value', 'delete', 'r', 'gate'], plane.env)).toMatchObject({ stdout: 'value gate is deleted\n' });
    await run(['value', 'delete', 'r', 'gate', '--expected-version', '7'], plane.env);
    expect(plane.changes).toEqual([
      { delete: 'gate', expectedVersion: undefined },
      { delete: 'gate', expectedVersion: 7n },
    ]);
  });

  it.each([
    [['value', 'set', 'r', 'gate'], "'gate' is no value"],
    [['value', 'set', 'r', 'gate:=x'], 'is not JSON'],
    [['value', 'set', 'r', 'gate=x', '--expected-version', '-1'], "'-1' is no version"],
    [['value', 'delete', 'r', 'gate', '--expected-version', '0'], "'0' is no version"],
  ])('%j is wrong usage', async (args, message) => {
    await using plane = await startPlane();
    const { exitCode, stderr } = await run(args, plane.env);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining(message)]);
    expect(plane.changes).toEqual([]);
  });
});
