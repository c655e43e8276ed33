import { DiscrepancyKind, RunState } from '@conveyor/client';
import { describe, expect, it } from 'vitest';
import { run, runForBytes } from './testing/run-command.ts';
import { runId, startScriptedPlane } from './testing/scripted-plane.ts';

describe('conveyor watch and logs', () => {
  it('watch shows every event and exits as the run did', async () => {
    await using plane = await startScriptedPlane({ state: RunState.FAILED });
    const { exitCode, stdout } = await run(['watch', runId], plane.env);
    expect(exitCode).toBe(1);
    expect(stdout).toContain('\n   2 build * 03:04:06 attempt 1 started\n');
    expect(stdout).not.toContain('|');
  });

  it('watch -o json gives one event a line', async () => {
    await using plane = await startScriptedPlane();
    const { stdout } = await run(['watch', runId, '-o', 'json'], plane.env);
    const events: unknown[] = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(events).toHaveLength(4);
    expect(events[0]).toMatchObject({ seq: '1', runCreated: { jobs: 1 } });
  });

  it.each([[[]], [['-f']]])('logs RUN/JOB %s gives the bytes as they were written', async (options) => {
    const log = Buffer.from([0x61, 0x0a, 0x00, 0xff, 0x0d]);
    await using plane = await startScriptedPlane({ jobs: { build: { log } } });
    const { stdout } = await runForBytes(['logs', `${runId}/build`, ...options], plane.env);
    expect(stdout).toEqual(log);
  });

  it.each([[[]], [['-f']]])('logs RUN %s gives the lines of all jobs behind their names', async (options) => {
    await using plane = await startScriptedPlane({ jobs: { build: { log: 'a\n' }, test: { log: 'b' } } });
    const { stdout } = await run(['logs', runId, ...options], plane.env);
    expect(stdout.split('\n').toSorted()).toEqual(['', 'build | a', 'test  | b']);
  });
});

describe('a log that is expired', () => {
  it.each([[`${runId}/build`], [runId]])('logs %s says so and shows nothing', async (target) => {
    await using plane = await startScriptedPlane({ expired: true });
    for (const options of target === runId ? [[]] : [[], ['-f']]) {
      expect(await run(['logs', target, ...options], plane.env)).toEqual({
        exitCode: 0,
        stdout: '',
        stderr: 'the log of attempt 1 is expired: it is older than the server keeps logs\n',
      });
    }
  });
});

describe('conveyor verify', () => {
  it('exits 0 when the run is as its ledger says', async () => {
    await using plane = await startScriptedPlane();
    expect(await run(['verify', runId], plane.env)).toEqual({
      exitCode: 0,
      stdout: `run ${runId} is as its ledger says: 4 events, 1 job, 1 attempt, 1 log of 1.5 KiB\n`,
      stderr: '',
    });
  });

  it('exits 1 when something differs, and shows what', async () => {
    const where = 'jobs[0].state';
    await using plane = await startScriptedPlane({
      discrepancies: [{ kind: DiscrepancyKind.JOB, where, expected: '"FAILED"', found: '"RUNNING"' }],
    });
    const { exitCode, stdout } = await run(['verify', runId], plane.env);
    expect(exitCode).toBe(1);
    expect(stdout.split('\n').slice(1)).toEqual([
      'WHERE          EXPECTED  FOUND',
      'jobs[0].state  "FAILED"  "RUNNING"',
      'and 3 more',
      '',
    ]);
    const json = await run(['verify', runId, '-o', 'json'], plane.env);
    expect(json.exitCode).toBe(1);
    expect(JSON.parse(json.stdout)).toMatchObject({ discrepancyCount: '4', discrepancies: [{ where }] });
  });
});
