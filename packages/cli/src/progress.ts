// Owns the status line of a run: how many jobs have finished, which run, and for how long already.
import { type Event, JobState, type Run } from '@conveyor/client';
import type { Terminal } from './terminal.ts';
import { duration, printable } from './text.ts';

/** Shown until it is disposed. */
export interface Progress extends Disposable {
  /** Takes an event of the run into account. */
  add(event: Event): void;
}

/** Names of running jobs that are shown. */
const shownNames = 5;

/** Begins with how the run stood at `run.seq`; its events may come from the first one on. */
export function createProgress(terminal: Terminal, run: Run, beganMs: number): Progress {
  const { total: known = 0, open = 0 } = run.jobCounts ?? {};
  const running = new Set<string>();
  let total = known;
  let finished = total - open;
  const show = () => {
    const names = [...running].slice(0, shownNames).map(printable);
    if (running.size > shownNames) names.push(`${running.size - shownNames} more`);
    const list = names.length === 0 ? '' : `, running: ${names.join(', ')}`;
    terminal.status(`${finished}/${total} jobs finished${list} (${duration(Date.now() - beganMs)})`);
  };
  const ticks = setInterval(show, 1_000);
  show();
  return {
    add(event) {
      if (event.jobState === JobState.RUNNING) running.add(event.job);
      else if (event.job !== '') running.delete(event.job);
      if (event.seq > run.seq) {
        if (event.kind.case === 'jobFinished') finished += 1;
        if (event.kind.case === 'jobsAdded') total += event.kind.value.jobs.length;
      }
      show();
    },
    [Symbol.dispose]() {
      clearInterval(ticks);
      terminal.status('');
    },
  };
}
