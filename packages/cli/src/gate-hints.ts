// Owns telling people that a gate waits for them, with the command that answers it: once each time, and not of what is long answered.
import type { Event, Gate, Run } from '@conveyor/client';
import { answerCommands, asksForAnswers } from './gate-text.ts';
import { definedJobs } from './run-jobs.ts';
import type { Terminal } from './terminal.ts';
import { printable } from './text.ts';

/** What is told. */
export interface GateHints {
  /** Takes an event of the run into account. */
  add(event: Event): void;
  /** Takes jobs into account that the run has got meanwhile. */
  learn(run: Run): void;
}

/** Begins with how the run stood at `run.seq`; its events may come from the first one on. */
export function createGateHints(terminal: Terminal, run: Run): GateHints {
  let gates = gatesOf(run);
  const waiting = new Set<string>();
  const tell = (job: string) => {
    const gate = gates.get(job.replace(/\[.*\]$/, ''));
    const { message = '' } = gate ?? {};
    terminal.note(`${printable(job)} waits for an answer${message === '' ? '' : `: ${printable(message)}`}`);
    terminal.note(`next: ${answerCommands(run.runId, job, gate)}`);
  };
  return {
    add({ job, jobState, seq, kind }) {
      const wait = kind.case === 'jobWaiting' ? kind.value.wait : undefined;
      if (asksForAnswers({ state: jobState, wait })) waiting.add(job);
      else if (kind.case === 'jobFinished') waiting.delete(job);
      // What came before the following began may have been answered by now.
      if (seq < run.seq) return;
      for (const gate of waiting) tell(gate);
      waiting.clear();
    },
    learn(later) {
      gates = gatesOf(later);
    },
  };
}

function gatesOf(run: Run): ReadonlyMap<string, Gate | undefined> {
  return new Map(definedJobs(run).map(({ name, gate }) => [name, gate]));
}
