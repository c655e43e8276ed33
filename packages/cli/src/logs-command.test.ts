import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { FailureClass, JobState } from '@conveyor/client';
import { describe, expect, it } from 'vitest';
import { run } from './testing/run-command.ts';
import { newRunId, runId, type Script, startScriptedPlane } from './testing/scripted-plane.ts';

type Shown = NonNullable<NonNullable<Script['jobs']>[string]['shown']>;

const finishTime = timestampFromMs(0);
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
    [
      'had no cells when it has finished without',
      jobs({ definition: { matrix }, finishTime }),
      'is a matrix',
      `it had no cells: \`conveyor describe job ${runId}/job\` shows why`,
    ],
    ['is none of a gate', jobs({ definition: { gate: {} } }), 'is a gate', `conveyor describe job ${runId}/job`],
    [
      'names the run of a call',
      jobs({ definition: { call: {} }, childRunId: newRunId }),
      'is a call',
      `\`conveyor logs ${newRunId}\``,
    ],
    ['says that a call has no run yet', jobs({ definition: { call: {} } }), 'is a call', 'not been made yet'],
    [
      'says that a call made no run',
      jobs({ definition: { call: {} }, finishTime }),
      'is a call',
      `it made no run: \`conveyor describe job ${runId}/job\` shows why`,
    ],
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
    expect({ exitCode, stderr }).toEqual({
      exitCode: 0,
      stderr: `job job has no attempt yet: it is waiting\nnext: conveyor explain job ${runId}/job\n`,
    });
  });

  it.each([[[]], [['--follow']]])(
    'is none of one that has finished without an attempt, and says why: %j',
    async (options) => {
      const needs = { needs: ['bad'], definition: {}, attempt: 0, finishTime };
      const failure = { class: FailureClass.INVALID, message: 'its spec is wrong' };
      await using plane = await startScriptedPlane({
        jobs: {
          bad: { state: JobState.FAILED, shown: { ...needs, needs: [], failure } },
          later: { state: JobState.SKIPPED, shown: needs },
        },
      });
      const noteOf = async (job: string) => {
        const { exitCode, stdout, stderr } = await run(['logs', `${runId}/${job}`, ...options], plane.env);
        expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: '' });
        return stderr.trimEnd().split('\n');
      };
      expect(await noteOf('bad')).toEqual([
        'job bad never ran: failed: INVALID: its spec is wrong',
        `next: conveyor describe job ${runId}/bad`,
      ]);
      expect(await noteOf('later')).toEqual([
        'job later never ran: skipped: bad failed, and it runs when all that it needs succeed',
        `next: conveyor describe job ${runId}/later`,
      ]);
    },
  );
});
