// Sees to the calls that wait, each kind of work in a loop of its own so that none waits for another: makes their runs, has these stop,
// and tells their jobs how these ended. What is to be done is stored, so any replica takes up what another one left; doing a thing twice
// has no second effect.
import { CALL_TRIGGER } from '../core/events.ts';
import { formatJobId, type JobKey, type RunId } from '../core/ids.ts';
import { LIMITS } from '../core/limits.ts';
import { plannedJob } from '../core/plan.ts';
import { type RefusalReason, RefusedError } from '../core/refusal.ts';
import {
  CALLS_TO_SETTLE,
  CALLS_TO_START,
  CALLS_TO_STOP,
  type DueCall,
  refuseCall,
  refuseTree,
  seeCalls,
  stirCalls,
} from '../store/due-calls.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import { createCallTurns } from './call-turns.ts';
import { endOfChild } from './child-end.ts';
import type { Ledger } from './ledger.ts';
import type { Log } from './log.ts';
import type { Plans } from './plans.ts';
import { createRing } from './ring.ts';
import { loadContexts } from './run-context.ts';
import type { RunCreation } from './run-creation.ts';
import { CALL_TREE_FULL } from './wanted-children.ts';

/** Runs that are made in one look: others' calls and new runs wait behind so many. */
const STARTS = { limit: 24, ofTree: 8 };
/** Runs that are told to stop in one look, and their jobs at a time: others' decisions wait behind one on each of these. */
const STOPS = { limit: 50, ofTree: 20 };
const STOPPED_JOBS = 2_000;
/** Calls that end in one look, and those at a time whose outputs are read. */
const ENDS = { limit: 300, ofTree: 150 };
const READ_ENDS = 100;
/** Calls of one tree that is full, in one statement. */
const REFUSED = 500;
/** How late it is noticed what another replica left. */
const POLL_MS = 1_000;
/** Before it is tried again what somebody else held. */
const AGAIN_MS = 20;
/** Between looks at calls of which nothing was noted, and how many of them. */
const SWEEP_MS = 10_000;
const SWEPT = 1_000;

/** What keeps a run from being made now, and may not in a moment. */
const PASSING: ReadonlySet<RefusalReason> = new Set(['DATABASE_UNAVAILABLE', 'REPLICA_TOO_OLD', 'SERVER_STOPPING']);

export interface Calls {
  /** Something happened that a call may have waited for. */
  changed(): void;
  run(signal: AbortSignal): Promise<void>;
}

export interface CallsOptions {
  readonly pool: Pool;
  readonly plans: Plans;
  readonly ledger: Ledger;
  readonly creation: RunCreation;
  readonly log: Log;
}

export function createCalls({ pool, plans, ledger, creation, log }: CallsOptions): Calls {
  const toStart = createCallTurns({ pool, turns: CALLS_TO_START, ...STARTS });
  const toStop = createCallTurns({ pool, turns: CALLS_TO_STOP, ...STOPS });
  const toSettle = createCallTurns({ pool, turns: CALLS_TO_SETTLE, ...ENDS });
  const bells = { start: createRing(), stop: createRing(), settle: createRing(), sweep: createRing() };
  let swept: JobKey | undefined;

  /**
   * Sees to calls, and notes that it did. Returns whether it did to any.
   * @param failed Is told of failures: one that fails, or fails each time, keeps nobody else waiting.
   */
  async function seeToAll(
    due: readonly DueCall[],
    seeTo: (call: DueCall) => Promise<boolean>,
    failed: unknown[],
  ): Promise<boolean> {
    const done = await Promise.allSettled(due.map(seeTo));
    const seen = due.filter((_, i) => {
      const result = done[i];
      return result?.status === 'fulfilled' && result.value;
    });
    if (seen.length > 0) await withConnection(pool, (tx) => seeCalls(tx, seen));
    for (const result of done) if (result.status === 'rejected') failed.push(result.reason);
    return seen.length > 0;
  }

  async function startSome(failed: unknown[]): Promise<number> {
    const due = await toStart.next();
    const full = new Map(due.filter(({ isFull }) => isFull).map((call) => [call.root, call]));
    for (const call of full.values()) {
      await withConnection(pool, (tx) => refuseTree(tx, call, CALL_TREE_FULL.message, REFUSED));
      bells.settle.ring();
    }
    const made = await seeToAll(
      due.filter(({ isFull }) => !isFull),
      start,
      failed,
    );
    return waitAfter(due, made || full.size > 0);
  }

  async function stopSome(failed: unknown[]): Promise<number> {
    const due = await toStop.next();
    let any = false;
    for (const some of inParts(due, ({ child }) => child?.jobs ?? 0, STOPPED_JOBS))
      any = (await seeToAll(some, stop, failed)) || any;
    return waitAfter(due, any);
  }

  async function settleSome(failed: unknown[]): Promise<number> {
    const due = await toSettle.next();
    let any = false;
    for (const some of inParts(due, ({ child }) => (child === undefined ? 0 : 1), READ_ENDS)) {
      any = (await seeToAll(some, settle, failed)) || any;
    }
    return waitAfter(due, any);
  }

  async function start({ key, project, depth, stopping, details, labels }: DueCall): Promise<boolean> {
    const context = await withConnection(pool, async (tx) =>
      (await loadContexts(tx, plans, [key.runId])).get(key.runId),
    );
    const call = context && plannedJob(context.plan, key.job).definition.call;
    // Its run was deleted, and the row goes with it.
    if (call === undefined) return false;
    if (stopping !== undefined) return await refuse(key, stopping);
    if (depth > LIMITS.callDepth) {
      return await refuse(key, `it is the call of a call, ${LIMITS.callDepth} times over: no deeper one is made`);
    }
    const { pipeline: name, revision, params } = call;
    const run = {
      pipeline: { name, ...(revision !== undefined && { revision }) },
      params: details?.spec ?? params,
      labels,
      trigger: { kind: CALL_TRIGGER, actor: '', reference: formatJobId(key) },
      requestId: requestIdOf(key),
    };
    try {
      const { runId: child } = await creation.create(project, run, key);
      await link(key, project, child);
      return true;
    } catch (error) {
      if (!(error instanceof RefusedError) || PASSING.has(error.refusal.refused)) throw error;
      if (error.refusal.refused === 'NOT_WAITING') return false;
      return await refuse(key, error.message);
    }
  }

  async function refuse(key: JobKey, message: string): Promise<boolean> {
    await withConnection(pool, (tx) => refuseCall(tx, key, message));
    bells.settle.ring();
    return false;
  }

  /** Tells the job which run was made for it. */
  async function link({ runId, job }: JobKey, project: string, child: RunId): Promise<void> {
    const { reply } = await ledger.submit(runId, { type: 'StartChild', job, childRun: child });
    if (reply.type !== 'Refused') return;
    // A replica of the version before ended the job when it could not make the run itself: nobody would ever stop this one.
    await ledger.submit(
      child,
      { type: 'CancelRun', reason: 'the call that made it has ended', force: true },
      { project },
    );
  }

  async function stop({ project, child, stopping, force }: DueCall): Promise<boolean> {
    if (child !== undefined && stopping !== undefined) {
      await ledger.submit(child.runId, { type: 'CancelRun', reason: stopping, force }, { project });
    }
    return true;
  }

  async function settle({ key, project, child, details, refused }: DueCall): Promise<boolean> {
    const { runId, job } = key;
    if (child === undefined) {
      await ledger.submit(runId, {
        type: 'RefuseChild',
        job,
        message: refused ?? 'it was stopped before its run was made',
      });
      return true;
    }
    // Who made its run came no further.
    if (details?.childRun !== child.runId) await link(key, project, child.runId);
    if (child.state === 'OPEN') return true;
    const end = await endOfChild({ pool, plans }, child.runId, child.state);
    await ledger.submit(runId, { type: 'FinishChild', job, childRun: child.runId, ...end });
    return true;
  }

  async function sweep(): Promise<number> {
    const { stirred, last } = await withConnection(pool, (tx) => stirCalls(tx, SWEPT, swept));
    swept = last;
    if (stirred > 0) changed();
    return SWEEP_MS;
  }

  function changed(): void {
    for (const kind of ['start', 'stop', 'settle'] as const) bells[kind].ring();
  }

  async function loop(
    kind: keyof typeof bells,
    look: (failed: unknown[]) => Promise<number>,
    signal: AbortSignal,
  ): Promise<void> {
    let failing = false;
    for (let waitMs = 0; ; ) {
      // Replicas do not march in step.
      await bells[kind].wait(waitMs * (0.8 + 0.4 * Math.random()), signal);
      if (signal.aborted) return;
      const failed: unknown[] = [];
      try {
        waitMs = await look(failed);
      } catch (error) {
        failed.push(error);
        waitMs = POLL_MS;
      }
      const fails = failed.length > 0;
      if (fails && waitMs > 0) waitMs = POLL_MS;
      if (fails && !failing && !signal.aborted) {
        log.warn({ err: failed[0], kind }, 'calls could not be seen to, trying again');
      }
      failing = fails;
    }
  }

  return {
    changed,
    async run(signal) {
      await Promise.all([
        loop('start', startSome, signal),
        loop('stop', stopSome, signal),
        loop('settle', settleSome, signal),
        loop('sweep', sweep, signal),
      ]);
    },
  };
}

/** Parts that weigh as much at most; what weighs more is alone. */
function inParts(due: readonly DueCall[], weightOf: (call: DueCall) => number, most: number): DueCall[][] {
  const parts: DueCall[][] = [];
  let weight = Infinity;
  for (const call of due) {
    weight += weightOf(call);
    if (weight > most) {
      parts.push([]);
      weight = weightOf(call);
    }
    parts.at(-1)?.push(call);
  }
  return parts;
}

function waitAfter(due: readonly DueCall[], wasSeen: boolean): number {
  if (due.length === 0) return POLL_MS;
  return wasSeen ? 0 : AGAIN_MS;
}

function requestIdOf(job: JobKey): string {
  return `call ${formatJobId(job)}`;
}
