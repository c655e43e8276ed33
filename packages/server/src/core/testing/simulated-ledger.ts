// Owns a ledger in memory as the store and the engine keep one: the run's state, its events, and what is stored of each attempt,
// which is changed by events alone. Whoever decides is an argument, so that a checker can be shown to catch a wrong decision.
import type { AttemptContent, Command } from '../commands.ts';
import { resultOf } from '../attempt.ts';
import { attemptNeeded } from '../command-needs.ts';
import { decide, type Decision } from '../decide.ts';
import type { Definition } from '../definition.ts';
import type { RunEvent } from '../events.ts';
import { beforeFirstEvent } from '../evolve.ts';
import { compilePlan } from '../plan.ts';
import type { JsonObject } from '../json.ts';
import type { RunFacts, RunSlice } from '../run-state.ts';

export type Decide = typeof decide;

export interface LedgerEntry {
  readonly event: RunEvent;
  readonly timeMs: number;
}

/** One command and what came of it. */
export interface Step {
  readonly before: RunSlice;
  /** A copy of what the decision was made on, taken before it. */
  readonly given: Pick<RunSlice, 'run' | 'jobs'>;
  readonly command: Command;
  readonly nowMs: number;
  readonly decision: Decision;
}

export interface SimulatedLedger {
  readonly decideWith: Decide;
  slice: RunSlice;
  nowMs: number;
  readonly entries: LedgerEntry[];
  /** By job and attempt, joined by a dot. */
  readonly attempts: Map<string, AttemptContent>;
}

/** The ledger of a run that is not created yet. */
export function openLedger(definition: Definition, decideWith: Decide = decide): SimulatedLedger {
  const slice = { ...beforeFirstEvent(compilePlan(definition)), facts: factsOf(new Map()) };
  return { decideWith, slice, nowMs: 1_000, entries: [], attempts: new Map() };
}

/** Decides on a command and keeps what follows, as one flush of the engine does. */
export function submit(ledger: SimulatedLedger, command: Command, nowMs = ledger.nowMs): Step {
  const before = ledger.slice;
  const given = structuredClone({ run: before.run, jobs: new Map(before.jobs) });
  const complete = withContent(ledger, command);
  const decision = ledger.decideWith(before, complete, nowMs);
  const { plan, run, jobs } = decision.after;
  const outputs = new Map(before.facts?.outputs);
  for (const event of decision.events) {
    if (event.type === 'AttemptEnded') outputs.set(event.job, event.outputs ?? {});
  }
  ledger.slice = { plan, run, jobs, facts: factsOf(outputs) };
  for (const event of decision.events) {
    ledger.entries.push({ event, timeMs: decision.after.run.lastMs });
    project(ledger, complete, event);
  }
  return { before, given, command: complete, nowMs, decision };
}

function factsOf(outputs: RunFacts['outputs']): RunFacts {
  const trigger = { kind: 'api', actor: '', reference: '' };
  return { runId: 'run', project: 'default', params: PARAMS, labels: { branch: 'main' }, trigger, outputs };
}

/** What the expressions of every simulated run read. */
export const PARAMS: JsonObject = { yes: true, no: false, list: ['a', 'b'], count: 3 };

export function attemptKey(job: number, attempt: number): string {
  return `${job}.${attempt}`;
}

function withContent(ledger: SimulatedLedger, command: Command): Command {
  const needed = attemptNeeded(ledger.slice, command);
  if (needed === undefined) return command;
  return { ...command, content: ledger.attempts.get(attemptKey(needed.job, needed.attempt)) } as Command;
}

const OFFERED: AttemptContent = {
  state: 'OFFERED',
  logSize: 0,
  logCrc32c: 0,
  logState: 'OPEN',
  annotations: 0,
  artifacts: 0,
};

function project(ledger: SimulatedLedger, command: Command, event: RunEvent): void {
  if (!('attempt' in event)) return;
  const key = attemptKey(event.job, event.attempt);
  const content = ledger.attempts.get(key) ?? OFFERED;
  switch (event.type) {
    case 'AttemptOffered':
      ledger.attempts.set(key, OFFERED);
      return;
    case 'AttemptStarted':
      ledger.attempts.set(key, { ...content, state: 'RUNNING' });
      return;
    case 'AttemptAnnotated':
      ledger.attempts.set(key, {
        ...content,
        annotations: content.annotations + 1,
        heardMs: ledger.slice.run.lastMs,
      });
      return;
    case 'AttemptArtifact':
      ledger.attempts.set(key, { ...content, artifacts: content.artifacts + 1, heardMs: ledger.slice.run.lastMs });
      return;
    case 'AttemptEnded': {
      const { state, logState } = event;
      const result = command.type === 'Finish' ? { result: resultOf(command) } : {};
      ledger.attempts.set(key, { ...content, state, logState, ...result });
      return;
    }
    case 'JobsAppended':
      ledger.attempts.set(key, { ...content, heardMs: ledger.slice.run.lastMs });
      return;
    case 'AttemptAdopted':
    case 'AttemptTimedOut':
    case 'AttemptHeard':
      return;
  }
}
