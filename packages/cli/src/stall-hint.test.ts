import { JobState, WaitReason } from '@conveyor/client';
import { createNodeClient } from '@conveyor/client/node';
import { afterEach, expect, it, vi } from 'vitest';
import { createStallHint } from './stall-hint.ts';
import { runId, startScriptedPlane } from './testing/scripted-plane.ts';

const blockers = ['it waits'];

afterEach(() => void vi.useRealTimers());

/** What is told when so much time goes by after these events of jobs. */
async function told(...steps: (readonly [job: string, jobState: JobState, thenMs: number])[]): Promise<string[]> {
  await using plane = await startScriptedPlane({
    jobs: {
      queued: { state: JobState.QUEUED, blockers },
      gate: { state: JobState.WAITING, blockers, shown: { wait: { reason: WaitReason.APPROVAL } } },
      later: { state: JobState.BLOCKED, blockers },
    },
  });
  const client = createNodeClient({ address: plane.grpcAddress, env: {} });
  const notes: string[] = [];
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  {
    await using hint = createStallHint(
      { client: () => client, terminal: { note: (text) => notes.push(text) } },
      runId,
      new AbortController().signal,
    );
    for (const [job, jobState, thenMs] of steps) {
      hint.add({ job, jobState });
      vi.advanceTimersByTime(thenMs);
    }
    vi.useRealTimers();
  }
  return notes;
}

it('tells what a run waits for in which nothing has happened for 5 s, but of jobs that have begun or are not ready', async () => {
  expect(await told(['queued', JobState.QUEUED, 4_999])).toEqual([]);
  expect(await told(['queued', JobState.QUEUED, 5_000])).toEqual(['waiting: queued: it waits']);
});

it('tells it once, and not while anything runs', async () => {
  const queued = ['queued', JobState.QUEUED, 10_000] as const;
  const running = ['other', JobState.RUNNING, 60_000] as const;
  expect(await told(running, queued)).toEqual([]);
  expect(await told(queued, queued)).toHaveLength(1);
  expect(await told(running, ['other', JobState.SUCCEEDED, 4_999], queued)).toHaveLength(1);
});
