// Matches queued jobs with the free slots of the sessions of this replica: claims rows of the queue, decides on the offers under
// the locks of their runs, and hands them over after the commit. Rows that nobody here can take stay for others.
import { setTimeout as delay } from 'node:timers/promises';
import type { FairOrder, WeightOf } from '../core/fair-order.ts';
import type { AttemptKey, JobKey } from '../core/ids.ts';
import { dequeue } from '../store/queue-rows.ts';
import type { Lane } from '../store/lane.ts';
import type { Tx } from '../store/sql.ts';
import { inTransaction } from '../store/transaction.ts';
import { type FlushOptions, type FlushOutcome, flushSubmissions, keepCommitted } from './flush.ts';
import { type Assignment, type Fit, roomFor } from './fit.ts';
import type { Log } from './log.ts';
import { createMissedRuns, type MissedRuns } from './missed-runs.ts';
import { composeOffer } from './offers.ts';
import type { Plans } from './plans.ts';
import { claimFlows, createQueues, type Queues } from './queues.ts';
import type { Answer, RunWork, Submission } from './run-work.ts';
import type { Session } from './session.ts';
import type { Sessions } from './sessions.ts';

const MAX_OFFERS = 500;
/** How long a round waits before it looks again for what no wake-up told. */
const POLL_MS = 500;
const MISSED_PAUSE_MS = 5;
const FAILED_PAUSE_MS = 250;

export interface Dispatcher {
  /** Jobs of a driver may have been queued, or slots of its sessions become free. */
  readonly wake: (driver: string) => void;
  wakeAll(): void;
  run(signal: AbortSignal): Promise<void>;
}

export interface DispatcherOptions {
  readonly lane: Lane;
  readonly flushing: FlushOptions;
  readonly sessions: Sessions;
  readonly fit: Fit;
  readonly plans: Plans;
  readonly weightOf: WeightOf;
  readonly log: Log;
  readonly onCommitted: (works: readonly RunWork[]) => void;
}

interface Round {
  readonly offers: readonly { readonly session: Session; readonly answer: Answer; readonly key: JobKey }[];
  readonly outcome: FlushOutcome | undefined;
  /** Drivers that may have more for us right now. */
  readonly again: readonly string[];
  readonly missed: boolean;
}

export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { lane, sessions, log } = options;
  const queues = createQueues(options.weightOf);
  const missedRuns = createMissedRuns();
  let pollAtMs = 0;
  const woken = new Set<string>();
  let ring = Promise.withResolvers<void>();

  function wake(driver: string): void {
    if (sessions.of(driver).length === 0) return;
    woken.add(driver);
    ring.resolve();
  }

  function wakeAll(): void {
    for (const driver of sessions.drivers()) woken.add(driver);
    ring.resolve();
  }

  async function round(signal: AbortSignal): Promise<void> {
    queues.keep(new Set(sessions.drivers()));
    const drivers = [...woken].filter((driver) => sessions.of(driver).some((session) => session.room() > 0));
    woken.clear();
    if (drivers.length === 0) return;
    const { offers, outcome, again, missed } = await inTransaction(
      lane,
      (tx, begun) => claimRound(tx, begun, drivers, { ...options, queues, missedRuns }),
      signal,
    );
    if (outcome !== undefined) {
      keepCommitted(outcome, options.flushing.cache);
      options.onCommitted(outcome.works.filter((work) => work.events.length > 0));
    }
    for (const { session, answer, key } of offers) {
      const { run, job } = answer;
      if (run === undefined || job === undefined) throw new Error('an offer was made without its run');
      const attempt: AttemptKey = { ...key, attempt: job.attempt };
      session.offer(composeOffer(run, attempt, job.details));
    }
    for (const driver of again) woken.add(driver);
    if (!missed) return;
    // Whoever holds the runs is about to commit; or else they are looked past, and tried again by themselves.
    await delay(MISSED_PAUSE_MS);
    pollAtMs = Math.min(pollAtMs, missedRuns.nextMs() ?? pollAtMs);
  }

  return {
    wake,
    wakeAll,
    async run(signal) {
      signal.addEventListener('abort', () => ring.resolve(), { once: true });
      while (!signal.aborted) {
        if (woken.size === 0) {
          const timer = setTimeout(() => ring.resolve(), Math.max(0, pollAtMs - performance.now()));
          await ring.promise;
          clearTimeout(timer);
        }
        if (performance.now() >= pollAtMs) {
          wakeAll();
          pollAtMs = performance.now() + POLL_MS * (0.5 + Math.random());
        }
        ring = Promise.withResolvers();
        if (signal.aborted) return;
        await round(signal).catch(async (error: unknown) => {
          if (signal.aborted) return;
          log.warn({ err: error }, 'claiming jobs failed, trying again');
          await delay(FAILED_PAUSE_MS);
        });
      }
    },
  };
}

interface RoundOptions extends DispatcherOptions {
  readonly queues: Queues;
  readonly missedRuns: MissedRuns;
}

/** What is to be offered, and whose turns are counted for it. */
interface Taken extends Assignment {
  readonly order: FairOrder;
}

async function claimRound(
  tx: Tx,
  begun: Promise<unknown>,
  drivers: readonly string[],
  { queues, missedRuns, sessions, fit, plans, flushing }: RoundOptions,
): Promise<Round> {
  const taken = new Map<Submission, Taken>();
  const again: string[] = [];
  const passed = missedRuns.passed();
  for (const driver of drivers) {
    const here = sessions.of(driver);
    const room = here.reduce((sum, session) => sum + session.room(), 0);
    const limit = Math.min(room, MAX_OFFERS - taken.size);
    if (limit <= 0) {
      again.push(driver);
      continue;
    }
    const queue = queues.of(driver);
    const { flows, order } = queue;
    flows.servedBy(schemasOf(here.filter((session) => session.room() > 0)));
    const claimed = await claimFlows(tx, driver, queue, { limit, room: roomFor(here), passed }, plans);
    const { assignments, trials } = await fit.assign(tx, here, claimed, limit, order);
    for (const assignment of assignments) taken.set(offerOf(assignment), { ...assignment, order });
    const isCut = assignments.length > 0 && claimed.some((flow) => flow.isCut);
    const isShort = claimed.some((flow) => flow.isShort);
    let looksFurther = false;
    for (const flow of claimed) {
      const trial = trials.get(flow.flow);
      if (trial !== undefined && flows.noteLeft(flow, trial)) looksFurther = true;
    }
    const hasMore = room > assignments.length && (isCut || isShort || looksFurther);
    if (hasMore || flows.isSearching()) again.push(driver);
  }
  if (taken.size === 0) return { offers: [], outcome: undefined, again, missed: false };
  const outcome = await flushSubmissions(tx, begun, [...taken.keys()], flushing, false, async (decided) => {
    // A row whose job is not queued any more, or whose run is gone, is stale.
    const done = answersOf(decided).filter(([, { reply }]) => reply.type !== 'Superseded');
    const keys = done.flatMap(([submission]) => taken.get(submission)?.key ?? []);
    if (keys.length > 0) await dequeue(tx, keys);
  });
  const answers = new Map(answersOf(outcome));
  const offers = [...taken].flatMap(([submission, { session, key, flow, order }]) => {
    const answer = answers.get(submission);
    if (answer?.reply.type === 'Done') return [{ session, key, answer }];
    order.giveBack(flow);
    return [];
  });
  // The slots that stale rows would have taken are free.
  const isStale = [...answers.values()].some(({ reply }) => reply.type !== 'Done' && reply.type !== 'Superseded');
  const missed = outcome.missed.length > 0;
  if (missed || isStale || outcome.left.length > 0) again.push(...drivers);
  missedRuns.missed(new Set(outcome.missed.map(({ runId }) => runId)));
  missedRuns.reached([...answers.keys()].map(({ runId }) => runId));
  return { offers, outcome, again, missed };
}

/** Which schemas the specs of jobs are held against. */
function schemasOf(sessions: readonly Session[]): string {
  return [...new Set(sessions.map(({ facts }) => facts.schemaDigest ?? ''))].toSorted().join(' ');
}

function answersOf({ works, refused }: FlushOutcome): readonly (readonly [Submission, Answer])[] {
  return [...works.flatMap((work) => [...work.answers]), ...refused];
}

function offerOf({ session: { facts }, key: { runId, job } }: Assignment): Submission {
  const { instance } = facts.writer;
  return {
    runId,
    project: undefined,
    command: { type: 'Offer', job, instance, instanceId: facts.instance },
    writer: facts.writer,
    misses: 0,
    isCostly: false,
    number: 0,
    answer: () => undefined,
    fail: () => undefined,
  };
}
