// Sees to the calls that wait: makes their runs, tells their jobs how these ended, and cancels them when their jobs are to stop. It looks
// at what is stored, so any replica takes up what another one left; doing a thing twice has no second effect.
import { formatJobId, parseJobId, type JobKey, type RunId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { plannedJob } from '../core/plan.ts';
import { type RefusalReason, RefusedError } from '../core/refusal.ts';
import { type DueCall, dueCalls, hasCalls, readTrigger } from '../store/call-rows.ts';
import { jobOutcomes, outputsBytes } from '../store/outcome-rows.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import type { Ledger } from './ledger.ts';
import type { Log } from './log.ts';
import type { Plans } from './plans.ts';
import { createRing } from './ring.ts';
import { loadContexts } from './run-context.ts';
import type { RunCreation } from './run-creation.ts';
import { createUnderWay } from './under-way.ts';

const MAX_BATCH = 100;
/** Whose calls are seen to at once. */
const MAX_RUNS = 50;
/** Calls of one run that are seen to at once: each may use a connection. */
const MAX_OF_RUN = 20;
/** How late it is noticed what another replica did. */
const POLL_MS = 1_000;

/** What keeps a run from being made now, and may not in a moment. */
const PASSING: ReadonlySet<RefusalReason> = new Set(['DATABASE_UNAVAILABLE', 'REPLICA_TOO_OLD', 'SERVER_STOPPING']);

/** What the trigger of a run is that a call made; its reference is the id of the job. */
export const CALL_TRIGGER = 'pipeline';

export interface Calls {
  /** A call waits for its run to be made. */
  opened(): void;
  /** A run has finished, for which a call may wait. */
  runFinished(): void;
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
  const bell = createRing();
  const underWay = createUnderWay({
    maxKeys: MAX_RUNS,
    maxParts: MAX_OF_RUN,
    failed: 'calls could not be seen to, trying again',
    log,
  });
  let anyOpen = true;

  /** Begins to see to all that is due. */
  async function look(signal: AbortSignal): Promise<void> {
    anyOpen = await withConnection(pool, hasCalls);
    for (let after: JobKey | undefined, due: DueCall[] = []; !signal.aborted; after = due.at(-1)?.key) {
      due = await withConnection(pool, (tx) => dueCalls(tx, MAX_BATCH, after));
      const found = due.map((call) => ({ key: call.key.runId, part: taskOf(call), work: () => seeTo(call) }));
      await underWay.begin(found.filter(({ key, part }) => !underWay.has(key, part)));
      if (due.length < MAX_BATCH) return;
    }
  }

  async function seeTo(call: DueCall): Promise<void> {
    const { key, child, stopping, force, project } = call;
    if (child === undefined) {
      await start(call);
      return;
    }
    const { runId, state } = child;
    if (state !== 'OPEN') {
      const found = state === 'SUCCEEDED' ? await outputsOf(runId) : {};
      const end =
        state === 'DELETED'
          ? ({ state: 'FAILED', outputs: {}, message: `its run ${runId} was deleted` } as const)
          : typeof found === 'string'
            ? ({ state: 'FAILED', outputs: {}, message: found } as const)
            : { state, outputs: found };
      await ledger.submit(key.runId, { type: 'FinishChild', job: key.job, childRun: runId, ...end });
    } else if (stopping !== undefined) {
      await ledger.submit(runId, { type: 'CancelRun', reason: stopping, force }, { project });
    }
  }

  /** Also of a call that is to stop: then it is known that nobody else makes its run later. */
  async function start({ key, project, details, labels }: DueCall): Promise<void> {
    const { runId, job } = key;
    const refuse = async (message: string): Promise<void> => {
      await ledger.submit(runId, { type: 'RefuseChild', job, message });
    };
    const context = await withConnection(pool, async (tx) => (await loadContexts(tx, plans, [runId])).get(runId));
    const call = context && plannedJob(context.plan, job).definition.call;
    // Its run was deleted, and the row goes with it.
    if (call === undefined) return;
    if ((await depthOf(key)) > LIMITS.callDepth) {
      await refuse(`it is the call of a call, ${LIMITS.callDepth} times over: no deeper one is made`);
      return;
    }
    const { pipeline: name, revision, params } = call;
    try {
      const created = await creation.create(project, {
        pipeline: { name, ...(revision !== undefined && { revision }) },
        params: details?.spec ?? params,
        labels,
        trigger: { kind: CALL_TRIGGER, actor: '', reference: formatJobId(key) },
        requestId: requestIdOf(key),
      });
      const { reply } = await ledger.submit(runId, { type: 'StartChild', job, childRun: created.runId });
      // Another replica found that it could not be made, and the job has ended: nobody would ever stop it.
      if (reply.type === 'Refused') await cancelUnwanted(project, created.runId);
    } catch (error) {
      if (!(error instanceof RefusedError) || PASSING.has(error.refusal.refused)) throw error;
      await refuse(error.message);
    }
  }

  async function cancelUnwanted(project: string, runId: RunId): Promise<void> {
    await ledger.submit(
      runId,
      { type: 'CancelRun', reason: 'the call that made it has ended', force: true },
      { project },
    );
  }

  /** How many calls lead to a run that a job would make. */
  async function depthOf(job: JobKey): Promise<number> {
    return await withConnection(pool, async (tx) => {
      let depth = 1;
      for (let at: JobKey | undefined = job; at !== undefined && depth <= LIMITS.callDepth; ) {
        const trigger: { kind: string; reference: string } | undefined = await readTrigger(tx, at.runId);
        at = trigger?.kind === CALL_TRIGGER ? parseJobId(trigger.reference) : undefined;
        if (at !== undefined) depth++;
      }
      return depth;
    });
  }

  /** A text says that they are too large to be looked at. */
  async function outputsOf(runId: RunId): Promise<JsonObject | string> {
    return await withConnection(pool, async (tx) => {
      const context = (await loadContexts(tx, plans, [runId])).get(runId);
      if (context === undefined) return {};
      const jobs = context.plan.jobs.filter(({ cell }) => cell === undefined).map(({ index }) => index);
      const bytes = await outputsBytes(tx, runId, jobs);
      if (bytes > 2 * LIMITS.gatheredOutputBytes) {
        return `the outputs of its run are ${bytes} bytes as JSON, at most ${LIMITS.gatheredOutputBytes} are allowed`;
      }
      const outcomes = await jobOutcomes(tx, runId, jobs);
      return Object.fromEntries(
        outcomes.flatMap(({ job, outputs }) =>
          Object.keys(outputs).length === 0 ? [] : [[plannedJob(context.plan, job).name, outputs]],
        ),
      );
    });
  }

  return {
    opened() {
      anyOpen = true;
      bell.ring();
    },
    runFinished() {
      if (anyOpen) bell.ring();
    },
    async run(signal) {
      let failing = false;
      for (let waitMs = 0; !signal.aborted; waitMs = POLL_MS) {
        await bell.wait(waitMs, signal);
        if (signal.aborted) break;
        try {
          await look(signal);
          failing = false;
        } catch (error) {
          if (!failing && !signal.aborted) log.warn({ err: error }, 'calls could not be read, trying again');
          failing = true;
        }
      }
      await underWay.settled();
    },
  };
}

/** What is to be done for a call: done once at a time, and something else as soon as it is known. */
function taskOf({ key: { job }, child, stopping, force }: DueCall): string {
  return `${job} ${child?.state} ${stopping !== undefined} ${force}`;
}

function requestIdOf(job: JobKey): string {
  return `call ${formatJobId(job)}`;
}
