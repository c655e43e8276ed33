import { JobState, WaitReason } from '@conveyor/client';
import { describe, expect, it } from 'vitest';
import { run } from './testing/run-command.ts';
import { runId, type Script, startScriptedPlane } from './testing/scripted-plane.ts';

/** The line of that name that is told of a job. */
async function told(name: string, job: string, script: Script): Promise<string | undefined> {
  await using plane = await startScriptedPlane(script);
  const { exitCode, stdout } = await run(['describe', 'job', `${runId}/${job}`], plane.env);
  expect(exitCode).toBe(0);
  return new RegExp(`^${name}: +(.*)$`, 'm').exec(stdout)?.[1];
}

describe('what a job needs', () => {
  it('is of a matrix only its job', async () => {
    const cell = { shown: { matrixJob: 'test' } };
    const test = { state: JobState.WAITING, shown: { wait: { reason: WaitReason.MATRIX } } };
    const last = { state: JobState.BLOCKED, shown: { needs: ['test'], attempt: 0 } };
    const jobs = { test, last, 'test[1]': cell, 'test[2]': cell };
    expect(await told('Needs', 'last', { jobs })).toBe('test waiting');
  });
});
