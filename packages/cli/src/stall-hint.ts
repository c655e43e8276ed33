// Owns telling why a run that is followed does not go on: when nothing of it runs, and nothing has happened to it for a while.
import { ConveyorError, type Event, type Job, JobState, WaitReason } from '@conveyor/client';
import { waitingLines } from './blocker-text.ts';
import type { Cli } from './cli.ts';
import type { Terminal } from './terminal.ts';
import { printable } from './text.ts';

/** What is told. */
export interface StallHint extends AsyncDisposable {
  /** Takes an event of the run into account. */
  add(event: Pick<Event, 'job' | 'jobState'>): void;
}

interface StallSurroundings extends Pick<Cli, 'client'> {
  readonly terminal: Pick<Terminal, 'note'>;
}

/** Most runs have gone on by then. */
const quietMs = 5_000;
const waiting = [JobState.WAITING, JobState.QUEUED, JobState.OFFERED];
/** Jobs that have begun wait for what they have made, or for people, which is told by itself. */
const begun: readonly (WaitReason | undefined)[] = [WaitReason.APPROVAL, WaitReason.MATRIX, WaitReason.CHILD_RUN];

/** Tells it once, and again once something has run since. */
export function createStallHint(
  { client, terminal }: StallSurroundings,
  runId: string,
  signal: AbortSignal,
): StallHint {
  const running = new Set<string>();
  let isTold = false;
  let telling = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;
  const tell = async () => {
    const jobs: Job[] = [];
    for await (const job of client().jobs.list(runId, { states: waiting }, { signal })) {
      if (!begun.includes(job.wait?.reason)) jobs.push(job);
    }
    for (const line of await waitingLines({ client }, jobs)) terminal.note(`waiting: ${printable(line)}`);
  };
  const isQuiet = () => {
    isTold = true;
    telling = tell().catch((thrown: unknown) => {
      // It is only a hint: a server that cannot be reached is told by what follows the run.
      if (!signal.aborted && !(thrown instanceof ConveyorError)) throw thrown;
    });
  };
  return {
    add({ job, jobState }) {
      if (jobState === JobState.RUNNING || jobState === JobState.CANCELLING) {
        running.add(job);
        isTold = false;
      } else running.delete(job);
      clearTimeout(timer);
      if (running.size === 0 && !isTold) timer = setTimeout(isQuiet, quietMs);
    },
    async [Symbol.asyncDispose]() {
      clearTimeout(timer);
      await telling;
    },
  };
}
