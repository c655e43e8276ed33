// One locked run inside a flush: what is loaded of it, the commands for it in order, and what they have decided so far.
import { ByIndex } from '../core/by-index.ts';
import type { AttemptContent, Command, Reply } from '../core/commands.ts';
import type { RunId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import type { JobRecord, RunFacts, RunHeader } from '../core/run-state.ts';
import { type KnownWork, nothingKnown } from '../core/working.ts';
import type { AttemptChange, AttemptInsert } from '../store/attempt-rows.ts';
import type { EventWrite } from '../store/ledger-rows.ts';
import type { LockedStarts } from './load-places.ts';
import type { RunContext } from './run-context.ts';

/** Which session writes: the number of its driver instance's row, and its epoch. */
export interface Writer {
  readonly instance: number;
  readonly epoch: number;
}

export type LedgerReply = Reply | { readonly type: 'Superseded' };

export interface Answer {
  readonly reply: LedgerReply;
  /** Undefined when the run does not exist or the command was not decided on. */
  readonly run?: RunContext;
  /** The job that the command names, after the decision. */
  readonly job?: JobRecord;
}

/** A command on its way through the ledger. */
export interface Submission {
  /** Counts up in the order in which commands are submitted. */
  readonly number: number;
  readonly runId: RunId;
  /** Undefined: whatever project the run belongs to. */
  readonly project: string | undefined;
  readonly command: Command;
  /** Undefined: not a session's. */
  readonly writer: Writer | undefined;
  /** In how many flushes somebody else held the run. */
  misses: number;
  /** Whether the decision was found to take long. */
  isCostly: boolean;
  answer(answer: Answer): void;
  fail(error: unknown): void;
}

export interface RunWork {
  /** Has the plan of the grown run once the decisions have added jobs to it. */
  context: RunContext;
  readonly submissions: readonly Submission[];
  /** The newest version of events that every live replica knows. */
  readonly eventVersion: number;
  /** The run as it was locked. */
  readonly before: RunHeader;
  /** Jobs as they were loaded. */
  readonly loaded: Map<number, JobRecord>;
  /** What the store holds of the attempts that the commands are about, by `contentKey`. */
  readonly contents: Map<string, AttemptContent>;
  run: RunHeader;
  jobs: ReadonlyMap<number, JobRecord>;
  /** The first of the jobs that the decisions added to it; undefined: they added none. */
  addedFrom: number | undefined;
  /** What its expressions may read, once one has asked. */
  facts: RunFacts | undefined;
  /** What is known of the groups and rate limits of jobs that are to start. */
  starts: LockedStarts | undefined;
  /** What has been worked out for the next submission, in decisions that lacked something. */
  known: KnownWork;
  /** How many submissions have been decided on, and whether the next one has been begun. */
  decided: number;
  isDeciding: boolean;
  readonly answers: Map<Submission, Answer>;
  readonly failures: Map<Submission, unknown>;
  readonly events: EventWrite[];
  readonly offered: AttemptInsert[];
  readonly attempts: Map<string, AttemptChange>;
  /** When time alone changes one of the written jobs next. */
  dueMs: number | undefined;
}

export function contentKey(job: number, attempt: number): string {
  return `${job}.${attempt}`;
}

export function beginWork(
  context: RunContext,
  header: RunHeader,
  submissions: readonly Submission[],
  eventVersion: number,
): RunWork {
  return {
    context,
    submissions,
    eventVersion,
    before: header,
    loaded: new Map(),
    contents: new Map(),
    run: header,
    jobs: new Map(),
    addedFrom: undefined,
    facts: undefined,
    starts: undefined,
    known: nothingKnown(),
    decided: 0,
    isDeciding: false,
    answers: new Map(),
    failures: new Map(),
    events: [],
    offered: [],
    attempts: new Map(),
    dueMs: undefined,
  };
}

/** Adds jobs that were just loaded. */
export function addLoaded(work: RunWork, jobs: Iterable<readonly [number, JobRecord]>): void {
  const all = ByIndex.from(work.jobs);
  for (const [index, record] of jobs) {
    work.loaded.set(index, record);
    all.set(index, record);
  }
  work.jobs = all;
}

/** What a decision lacks. */
export interface Wanted {
  readonly jobs: readonly number[];
  /** Jobs whose outputs are wanted, and with them what expressions may read at all. */
  readonly outputsOf?: readonly number[];
}

/** Adds what expressions may read, and outputs of jobs that were just loaded. */
export function addFacts(work: RunWork, facts: RunFacts, outputs: Iterable<readonly [number, JsonObject]>): void {
  const all = ByIndex.from(facts.outputs);
  for (const [job, found] of outputs) all.set(job, found);
  work.facts = { ...facts, outputs: all };
}
