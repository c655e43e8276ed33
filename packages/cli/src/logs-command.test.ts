import { JobState } from '@conveyor/client';
import { describe, expect, it } from 'vitest';
import { run } from './testing/run-command.ts';
import { newRunId, runId, type Script, startScriptedPlane } from './testing/scripted-plane.ts';

type Shown = NonNullable<NonNullable<Script['jobs']>[string]['shown']>;

const matrix = { axes: { n: '${{ params.n }}' } };

function jobs(shown: Shown, cells = 0): Script {
  const made = Array.from({ length: cells }, (_, index) => [`job[${index}]`, { shown: { matrixJob: 'job' } }]);
  return {
    jobs: { job: { state: JobState.WAITING, shown: { attempt: 0, ...shown } }, ...Object.fromEntries(made) },
  };
}

describe('the log of a job that no driver runs', () => {
  it.each<[string, Script, string, string]>([
    [
      'names its cells',
      jobs({ definition: { matrix } }, 2),
      'job job is a matrix, which no driver runs',
      `\`conveyor logs '${runId}/job[0]'\`, \`conveyor logs '${runId}/job[1]'\``,
    ],
    ['names some of many cells', jobs({ definition: { matrix } }, 9), 'is a matrix', 'and so on for 9 cells'],
    ['has no cells to name before they are made', jobs({ definition: { matrix } }), 'is a matrix', 'no cells yet'],
    ['is none of a gate', jobs({ definition: { gate: {} } }), 'is a gate', `conveyor describe job ${runId}/job`],
    [
      'names the run of a call',
      jobs({ definition: { call: {} }, childRunId: newRunId }),
      'is a call',
      `\`conveyor logs ${newRunId}\``,
    ],
    ['says that a call has no run yet', jobs({ definition: { call: {} } }), 'is a call', 'not been made yet'],
    [
      'is none of a cell that is a gate',
      jobs({ definition: { matrix, gate: {} }, matrixJob: 'a' }),
      'is a gate',
      'who',
    ],
  ])('%s', async (_, script, what, hint) => {
    await using plane = await startScriptedPlane(script);
    for (const options of [[], ['--follow']]) {
      const { exitCode, stdout, stderr } = await run(['logs', `${runId}/job`, ...options], plane.env);
      expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
      expect(stderr).toContain(what);
      expect(stderr).toContain(hint);
    }
  });

  it('is still to come of a job that a driver will run', async () => {
    await using plane = await startScriptedPlane(jobs({ definition: { driver: 'shell' } }));
    const { exitCode, stderr } = await run(['logs', `${runId}/job`], plane.env);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: 'job job has no attempt yet\n' });
  });
});
