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
import { createUnderWay } from './under-way.ts';
import { CALL_TREE_FULL } from './wanted-children.ts';

/** In one look, and of one tree at a time: others' calls and new runs wait behind so many. */
const STARTS = { limit: 24, ofTree: 8 };
const STOPS = { limit: 50, ofTree: 20 };
const ENDS = { limit: 300, ofTree: 150 };
/** Whose calls are seen to at once, and how many of one run. */
const AT_ONCE = { maxKeys: 50, maxParts: 50 };
/** Calls of one tree that is full, in one statement. */
const REFUSED = 500;
/** How late it is noticed what another replica left. */
const POLL_MS = 1_000;
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

/** Returns whether what happened to the call was seen to, and the call goes on. */
type SeeTo = (call: DueCall) => Promise<boolean>;

export function createCalls({ pool, plans, ledger, creation, log }: CallsOptions): Calls {
  const toStart = createCallTurns({ pool, turns: CALLS_TO_START, ...STARTS });
  const toStop = createCallTurns({ pool, turns: CALLS_TO_STOP, ...STOPS });
  const toSettle = createCallTurns({ pool, turns: CALLS_TO_SETTLE, ...ENDS });
  const bells = { start: createRing(), stop: createRing(), settle: createRing(), sweep: createRing() };
  const begun = () => createUnderWay({ ...AT_ONCE, failed: 'calls could not be seen to, trying again', log });
  const underWay = { start: begun(), stop: begun(), settle: begun() };
  let swept: JobKey | undefined;

  /** Begins to see to calls, of each once at a time. A look follows when it was seen to, unless that failed. */
  async function seeToSome(kind: keyof typeof underWay, due: readonly DueCall[], seeTo: SeeTo): Promise<void> {
    const tasks = due.map((call) => ({
      // Who may be held by somebody else.
      key: kind === 'stop' && call.child !== undefined ? call.child.runId : call.key.runId,
      part: formatJobId(call.key),
      async work() {
        if (await seeTo(call)) await withConnection(pool, (tx) => seeCalls(tx, [call]));
        bells[kind].ring();
      },
    }));
    await underWay[kind].begin(tasks.filter(({ key, part }) => !underWay[kind].has(key, part)));
  }

  async function startSome(): Promise<number> {
    const due = await toStart.next();
    const full = new Map(due.filter(({ isFull }) => isFull).map((call) => [call.root, call]));
    for (const call of full.values()) {
      await withConnection(pool, (tx) => refuseTree(tx, call, CALL_TREE_FULL.message, REFUSED));
      bells.settle.ring();
    }
    await seeToSome(
      'start',
      due.filter(({ isFull }) => !isFull),
      start,
    );
    return full.size > 0 ? 0 : POLL_MS;
  }

  async function stopSome(): Promise<number> {
    await seeToSome('stop', await toStop.next(), stop);
    return POLL_MS;
  }

  async function settleSome(): Promise<number> {
    await seeToSome('settle', await toSettle.next(), settle);
    return POLL_MS;
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

  async function loop(kind: keyof typeof bells, look: () => Promise<number>, signal: AbortSignal): Promise<void> {
    let failing = false;
    for (let waitMs = 0; ; ) {
      // Replicas do not march in step.
      await bells[kind].wait(waitMs * (0.8 + 0.4 * Math.random()), signal);
      if (signal.aborted) return;
      try {
        waitMs = await look();
        failing = false;
      } catch (error) {
        if (!failing && !signal.aborted) log.warn({ err: error, kind }, 'calls could not be read, trying again');
        failing = true;
        waitMs = POLL_MS;
      }
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
      await Promise.all(Object.values(underWay).map((some) => some.settled()));
    },
  };
}

function requestIdOf(job: JobKey): string {
  return `call ${formatJobId(job)}`;
}
