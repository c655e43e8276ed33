// The lanes on which runs begin, many in one transaction. What is large, or takes long to decide on, goes by a lane of its own, one at a
// time, so that nobody waits behind it. On both lanes projects have their turns.
import { randomBytes } from 'node:crypto';
import type { Definition } from '../core/definition.ts';
import { makeRunId } from '../core/ids.ts';
import { LIMITS } from '../core/limits.ts';
import type { Plan } from '../core/plan.ts';
import { overloaded, type Refusal } from '../core/refusal.ts';
import { DEFINITION_TRUST_MS, type DefinitionDigest } from '../store/definition-rows.ts';
import type { Lane } from '../store/lane.ts';
import { inTransaction } from '../store/transaction.ts';
import type { CheckedRun, NewRunNotice, RunToBegin } from './begin-run.ts';
import type { CreatedRun } from './created-run.ts';
import type { FlushOptions } from './flush.ts';
import { createGroupCommit } from './group-commit.ts';
import { insertNewRuns, LARGE_JOBS, MAX_JOBS } from './insert-runs.ts';

const MAX_FLUSH = 500;
/** Behind so many runs the size of each that comes is counted. */
const UNCOUNTED_RUNS = 200;

export interface Creates extends AsyncDisposable {
  /** Stores a run and resolves once it is committed; with an earlier one when its request id is a repetition. */
  create(run: CheckedRun): Promise<CreatedRun | Refusal>;
}

export interface CreatesOptions {
  readonly lane: Lane;
  readonly largeLane: Lane;
  readonly flushing: FlushOptions;
  /** Hears of new runs after their commit: the projects and the drivers whose queues grew. */
  readonly onCreated: (runs: readonly NewRunNotice[]) => void;
}

interface Item extends RunToBegin {
  answer(created: CreatedRun | Refusal): void;
  readonly fail: (error: unknown) => void;
}

export function createCreates({ lane, largeLane, flushing, onCreated }: CreatesOptions): Creates {
  // Until when definitions that are committed may be relied on, by digest; forgotten together when there are many.
  const stored = new Map<DefinitionDigest, number>();

  let waitingBytes = 0;
  // Those of a batch, and of what is made of a pipeline again and again, have theirs in common: it is measured once.
  const definitionBytes = new WeakMap<Definition, number>();

  /** What a run that waits keeps in memory, roughly. */
  function bytesOf({ definition, params, labels }: CheckedRun): number {
    const bytes = definitionBytes.get(definition) ?? JSON.stringify(definition).length;
    definitionBytes.set(definition, bytes);
    return bytes + JSON.stringify([params, labels]).length;
  }

  async function flush(on: Lane, items: readonly Item[], signal: AbortSignal): Promise<readonly Item[]> {
    const { now, later } = withinJobs(items);
    const untilMs = performance.now() + DEFINITION_TRUST_MS;
    const { answers, costly, left, begun, defined } = await inTransaction(
      on,
      (tx, begun) => {
        const eventVersion = flushing.eventVersion();
        const options = { stored, schemas: flushing.schemas, eventVersion, isAlone: on === largeLane };
        return insertNewRuns(tx, begun, now, options);
      },
      signal,
    );
    for (const item of costly) largeGroup.add(item);
    if (stored.size > 10_000) stored.clear();
    for (const digest of defined) stored.set(digest, untilMs);
    for (const { context, after } of begun) flushing.cache.keep(context, undefined, after.run, after.jobs);
    onCreated(begun.map(({ notice }) => notice));
    for (const [item, answer] of answers) item.answer(answer);
    return [...left, ...later];
  }

  const groupOn = (on: Lane, maxItems: number) =>
    createGroupCommit<Item>({
      maxItems,
      ownerOf: ({ run }) => run.project,
      flush: (items, signal) => flush(on, items, signal),
      fail: (item, error) => item.fail(error),
    });
  const group = groupOn(lane, MAX_FLUSH);
  const largeGroup = groupOn(largeLane, 1);

  return {
    create(run) {
      const waiting = group.waiting() + largeGroup.waiting();
      if (waiting >= LIMITS.pendingCommands) return Promise.reject(overloaded(`${LIMITS.pendingCommands} runs`));
      const bytes = waiting < UNCOUNTED_RUNS ? 0 : bytesOf(run);
      if (waitingBytes + bytes > LIMITS.pendingCreateBytes) {
        return Promise.reject(overloaded(`${LIMITS.pendingCreateBytes} bytes of new runs`));
      }
      const plan = flushing.plans.put(run.digest, run.definition);
      const runId = makeRunId(Date.now(), randomBytes(10));
      const chosen = isLarge(plan) ? largeGroup : group;
      waitingBytes += bytes;
      return new Promise<CreatedRun | Refusal>((answer, fail) =>
        chosen.add({ run, runId, plan, answer, fail }),
      ).finally(() => {
        waitingBytes -= bytes;
      });
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([group[Symbol.asyncDispose](), largeGroup[Symbol.asyncDispose]()]);
    },
  };
}

/** One that its matrix makes large is found out when it is decided on. */
function isLarge({ jobs }: Plan): boolean {
  return jobs.length > LARGE_JOBS;
}

function withinJobs(items: readonly Item[]): { now: readonly Item[]; later: readonly Item[] } {
  let jobs = 0;
  const end = items.findIndex((item, index) => {
    jobs += item.plan.jobs.length;
    return index > 0 && jobs > MAX_JOBS;
  });
  return end === -1 ? { now: items, later: [] } : { now: items.slice(0, end), later: items.slice(end) };
}
