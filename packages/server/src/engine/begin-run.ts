// The creation of a run as it is decided, and the rows that the run begins with.
import type { Command } from '../core/commands.ts';
import { decideInSlices } from '../core/decide.ts';
import type { Definition } from '../core/definition.ts';
import { beforeFirstEvent } from '../core/evolve.ts';
import { callerOf } from '../core/events.ts';
import type { JobKey, RunId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import { type Plan, plannedJob } from '../core/plan.ts';
import type { RunFacts, RunSlice } from '../core/run-state.ts';
import { dueOf } from '../core/alarms.ts';
import type { Labels, RunView } from '../core/views.ts';
import type { QueueInsert } from '../store/queue-rows.ts';
import { type DefinitionDigest, digestOf } from '../store/definition-rows.ts';
import type { JobWrite } from '../store/job-rows.ts';
import type { EventWrite } from '../store/ledger-rows.ts';
import type { RunInsert } from '../store/run-rows.ts';
import { callChanges } from './call-changes.ts';
import { type StartChange, startChange, type StartsChanged, startsChanged } from './member-changes.ts';
import { queueEntry } from './queue-entry.ts';
import type { RunContext } from './run-context.ts';

/** A run that has passed every check. */
export interface CheckedRun {
  readonly project: string;
  readonly digest: DefinitionDigest;
  readonly definition: Definition;
  readonly command: Extract<Command, { type: 'Create' }>;
  readonly params: JsonObject;
  readonly labels: Labels;
  readonly traceparent: string;
  readonly request: { readonly id: string; readonly bodyDigest: Uint8Array } | undefined;
  /** The call that it is made for. */
  readonly call?: JobKey;
}

/** A run that is about to begin. */
export interface RunToBegin {
  readonly run: CheckedRun;
  readonly runId: RunId;
  readonly plan: Plan;
}

export interface NewRunNotice {
  readonly runId: RunId;
  readonly drivers: readonly string[];
  /** When time alone changes one of its jobs next. */
  readonly dueMs: number | undefined;
  /** Whether it waits for other runs, or one that waits for it is to hear of it. */
  readonly callsChanged: boolean;
  /** What its jobs wait for. */
  readonly starts: StartsChanged;
}

/** A new run and the rows that it begins with. */
export interface BegunRun {
  readonly context: RunContext;
  readonly after: RunSlice;
  readonly run: RunInsert;
  readonly jobs: readonly JobWrite[];
  readonly events: readonly EventWrite[];
  readonly queue: readonly QueueInsert[];
  readonly starts: readonly StartChange[];
  readonly notice: NewRunNotice;
  readonly view: RunView;
}

/** To make the rows of so many jobs takes about a millisecond. */
const ROWS_AT_ONCE = 1_000;

/**
 * Decides on the creation of a run, a slice at a time.
 * @param eventVersion The newest version of events that every live replica knows.
 */
export function* beginRun(
  { run, runId, plan }: RunToBegin,
  nowMs: number,
  eventVersion: number,
  whyUnfit: RunFacts['whyUnfit'],
): Generator<undefined, BegunRun> {
  const { project, params, traceparent, labels } = run;
  const { pipeline, revision, trigger } = run.command;
  const origin = { ...(pipeline !== undefined && { pipeline }), ...(revision !== undefined && { revision }) };
  const given = { runId, project, ...origin, params, labels, trigger, outputs: new Map<number, JsonObject>() };
  const facts: RunFacts = { ...given, ...(whyUnfit !== undefined && { whyUnfit }) };
  const slice = { ...beforeFirstEvent(plan), eventVersion, facts };
  const { events, marks, after } = yield* decideInSlices(slice, run.command, nowMs);
  const jobs: JobWrite[] = [];
  const queue: QueueInsert[] = [];
  const context = { runId, project, pipeline, params, traceparent, caller: callerOf(trigger), plan: after.plan };
  const starts: StartChange[] = [];
  let dueMs: number | undefined;
  for (const [job, record] of after.jobs) {
    if (job % ROWS_AT_ONCE === ROWS_AT_ONCE - 1) yield;
    const key = { runId, job };
    const due = dueOf(after, job, record);
    if (due !== undefined) dueMs = Math.min(dueMs ?? due, due);
    jobs.push({ key, project, record, dueMs: due });
    const start = startChange(context, job, undefined, record);
    if (start !== undefined) starts.push(start);
    if (record.state !== 'QUEUED') continue;
    queue.push(queueEntry({ runId, project, pipeline }, job, plannedJob(after.plan, job).definition, nowMs));
  }
  const insert: RunInsert = {
    runId,
    project,
    pipeline,
    revision,
    digest: after.plan === plan ? run.digest : yield* digestOf(after.plan.definition),
    header: after.run,
    params: run.params,
    labels,
    trigger,
    rerunOf: run.command.rerunOf as RunId | undefined,
    traceparent: run.traceparent,
  };
  const writes = events.map((event, i): EventWrite => {
    const mark = marks[i];
    if (mark === undefined) throw new Error('an event without a mark');
    return {
      runId,
      project,
      seq: i + 1,
      timeMs: nowMs,
      runState: mark.run,
      jobState: mark.job,
      event,
      feed: i === events.length - 1,
    };
  });
  return {
    context,
    after,
    run: insert,
    jobs,
    events: writes,
    queue,
    starts,
    notice: {
      runId,
      drivers: [...new Set(queue.map((entry) => entry.driver))],
      dueMs,
      callsChanged: callChanges(context, writes).length > 0,
      starts: startsChanged(starts),
    },
    view: viewOf(insert, run.definition, nowMs),
  };
}

function viewOf(run: RunInsert, definition: Definition, createdMs: number): RunView {
  const { runId, project, pipeline, revision, params, labels, trigger, rerunOf, header } = run;
  return {
    runId,
    project,
    ...(pipeline !== undefined && { pipeline }),
    ...(revision !== undefined && { revision }),
    state: header.state,
    params,
    labels,
    trigger,
    counts: header.counts,
    seq: header.seq,
    ...(rerunOf !== undefined && { rerunOf }),
    createdMs,
    ...(header.startedMs !== undefined && { startedMs: header.startedMs }),
    ...(header.finishedMs !== undefined && { finishedMs: header.finishedMs }),
    definition,
  };
}
