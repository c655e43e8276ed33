// Owns several runs whose jobs share concurrency groups and rate limits, as replicas over one database have them: places are claimed in
// transactions that lock groups and may be lost before their commit, while other transactions commit in between; who is told of what is told
// late or never.
import type { Command } from '../commands.ts';
import type { Definition } from '../definition.ts';
import { EVENT_VERSION } from '../event-versions.ts';
import {
  candidatesOf,
  comparePositions,
  type GroupState,
  membershipOf,
  noteMove,
  type Position,
  viewOf,
} from '../group.ts';
import { type Plan, plannedJob } from '../plan.ts';
import {
  isWaitingForRate,
  type RateState,
  rateCandidates,
  type RateView,
  rateViewOf,
  type RateWaiter,
  takeTokens,
} from '../rate.ts';
import { type JobRecord, jobOf, liveOf } from '../run-state.ts';
import { groupLimitOf, ratesTaken } from '../shares.ts';
import { lineOf } from './rate-line.ts';
import { isJobFinished } from '../states.ts';
import { dueOf } from '../alarms.ts';
import {
  byKey,
  checkClaim,
  checkLimits,
  checkRate,
  checkRest,
  claim,
  groupOf,
  type Member,
  type Taken,
} from './group-invariants.ts';
import { checkReplay } from './invariants.ts';
import { attemptKey, type Decide, openLedger, type SimulatedLedger, submit } from './simulated-ledger.ts';

/** One transaction that has locked groups and read them. */
interface Claims {
  readonly groups: ReadonlyMap<string, GroupState>;
  readonly rates: ReadonlyMap<string, RateState>;
  readonly asked: readonly Position[];
  readonly nowMs: number;
}

export interface SimulatedGroups {
  readonly runs: ReadonlyMap<string, SimulatedLedger>;
  readonly decided: () => number;
  members(): readonly Member[];
  create(definition: Definition): void;
  /** Lets one thing happen. */
  step(): void;
  /** Has every replica look until nothing moves any more. */
  settle(): void;
  /** Goes on with drivers that do all that is asked of them until nothing is left to do. */
  workOff(): void;
}

export interface GroupFaults {
  readonly decideWith?: Decide;
  /** Reads a group before it has the lock of it. */
  readonly readsBeforeLock?: boolean;
  /** Nobody looks at groups but who was told. */
  readonly neverPolls?: boolean;
}

/** @param random Evenly drawn from [0, 1): all that happens follows from it. */
export function openGroups(random: () => number, faults: GroupFaults = {}): SimulatedGroups {
  const runs = new Map<string, SimulatedLedger>();
  let nowMs = 1_000;
  let decided = 0;
  /** What is stored of buckets: when each is full. */
  const buckets = new Map<string, number>();
  const taken = new Map<string, Taken[]>();
  const below = (limit: number): number => Math.floor(random() * limit);
  const chance = (share: number): boolean => random() < share;

  function memberOf(runId: string, job: number, record: JobRecord, { slice }: SimulatedLedger): Member | undefined {
    const state = membershipOf(record);
    const { concurrency } = plannedJob(slice.plan, job).definition;
    const key = record.details?.group;
    if (state === undefined || concurrency === undefined || key === undefined) return undefined;
    const { policy } = concurrency;
    const limit = limitOf(slice.plan, job, record);
    return { runId, job, readyMs: record.readyMs ?? 0, limit, policy, key, state };
  }

  function members(): readonly Member[] {
    return [...runs].flatMap(([runId, ledger]) =>
      [...ledger.slice.jobs].flatMap(([job, record]) => memberOf(runId, job, record, ledger) ?? []),
    );
  }

  /** What a job takes of its rate limits, whether it waits for them or not. */
  function takesOf(runId: string, job: number, record: JobRecord, { slice }: SimulatedLedger) {
    const told = record.state === 'WAITING' && 'expectedMs' in record.wait;
    return ratesTaken(plannedJob(slice.plan, job).definition, record.details).map((rate) => {
      const { key, costMs, periodMs } = rate;
      return { key, rate, waiter: { runId, job, readyMs: record.readyMs ?? 0, costMs, periodMs, told } };
    });
  }

  function rateWaiters(): ReadonlyMap<string, RateWaiter[]> {
    const found = new Map<string, RateWaiter[]>();
    for (const [runId, ledger] of runs) {
      for (const [job, record] of ledger.slice.jobs) {
        if (!isWaitingForRate(record)) continue;
        for (const { key, waiter } of takesOf(runId, job, record, ledger)) {
          found.set(key, [...(found.get(key) ?? []), waiter].toSorted(comparePositions));
        }
      }
    }
    return found;
  }

  function candidatesAt(key: string, atMs: number): ReturnType<typeof rateCandidates> {
    const rate = rateOf(key);
    return rateCandidates(rate, lineOf(rate.front), atMs);
  }

  function rateOf(key: string): RateState {
    const line = rateWaiters().get(key) ?? [];
    return { fullMs: buckets.get(key) ?? 0, front: line.slice(0, 3), isWhole: line.length <= 3, taken: false };
  }

  function decideOn(runId: string, command: Command, atMs = nowMs): void {
    const ledger = runs.get(runId);
    if (ledger === undefined) throw new Error(`there is no run ${runId}`);
    ledger.nowMs = nowMs;
    submit(ledger, command, atMs);
    decided++;
    checkLimits(members());
  }

  /** The first statements of a transaction that claims places. */
  function lockAndRead(asked: readonly Position[]): Claims {
    const keys = new Set(asked.flatMap(({ runId, job }) => runs.get(runId)?.slice.jobs.get(job)?.details?.group ?? []));
    const all = members();
    const rates = new Set(
      asked.flatMap(({ runId, job }) => runs.get(runId)?.slice.jobs.get(job)?.details?.rates ?? []),
    );
    return {
      groups: new Map([...keys].map((key) => [key, groupOf(all.filter((one) => one.key === key))])),
      rates: new Map([...rates].map((key) => [key, rateOf(key)])),
      asked,
      nowMs,
    };
  }

  /** The rest of it, in the order of the runs. */
  function decideClaims({ groups, rates, asked, nowMs: atMs }: Claims): void {
    for (const { runId, job } of asked.toSorted((a, b) => (a.runId < b.runId ? -1 : 1))) {
      const ledger = runs.get(runId);
      const record = ledger?.slice.jobs.get(job);
      if (ledger === undefined || record === undefined) continue;
      const key = record.details?.group;
      const group = key === undefined ? undefined : groups.get(key);
      const { concurrency } = plannedJob(ledger.slice.plan, job).definition;
      const at = { runId, job, readyMs: record.readyMs ?? 0 };
      const limit = concurrency && limitOf(ledger.slice.plan, job, record);
      const place = group && limit !== undefined ? viewOf(group, at, limit) : undefined;
      const takes = takesOf(runId, job, record, ledger);
      const views = takes.flatMap((take) => {
        const rate = rates.get(take.key);
        return rate === undefined ? [] : [rateViewOf(rate, take.waiter, atMs)];
      });
      const rate: RateView | undefined =
        takes.length === 0 || views.length < takes.length
          ? undefined
          : {
              allowed: views.every(({ allowed }) => allowed),
              expectedMs: Math.max(...views.map((one) => one.expectedMs)),
            };
      const before = structuredClone({ group, record, jobs: new Map(ledger.slice.jobs) });
      decideOn(runId, { type: 'ClaimPlace', job, place, rate }, atMs);
      const after = jobOf(ledger.slice, job);
      if (before.group !== undefined && concurrency !== undefined && limit !== undefined) {
        checkClaim(before.group, before.record, after, { ...at, ...concurrency, limit });
      }
      for (const [index, one] of ledger.slice.jobs) {
        const found = one.details?.group === undefined ? undefined : groups.get(one.details.group);
        if (found === undefined) continue;
        const was = before.jobs.get(index);
        const position = { runId, job: index, readyMs: one.readyMs ?? 0 };
        noteMove(found, position, limitOf(ledger.slice.plan, index, one), was && membershipOf(was), membershipOf(one));
      }
      if (before.record.state !== 'WAITING' || after.state !== 'QUEUED') continue;
      for (const { key: name, rate: limit, waiter } of takes) {
        const bucket = rates.get(name);
        claim(bucket !== undefined, 'tokens are taken under their lock');
        takeTokens(bucket, waiter, atMs);
        buckets.set(name, bucket.fullMs);
        const all = taken.get(name) ?? [];
        all.push({ atMs, cost: limit.cost });
        taken.set(name, all);
        checkRate(all, limit);
      }
    }
  }

  function candidates(): readonly Position[] {
    const all = members();
    const found = [...byKey(all).values()].flatMap((group) => candidatesOf(groupOf(group)));
    const rejecting = all.filter(({ state, policy }) => state === 'WAITING' && policy === 'REJECT');
    const rated = [...rateWaiters().keys()].flatMap((key) => candidatesAt(key, nowMs).now);
    const unique = new Map([...found, ...rejecting, ...rated].map((at) => [`${at.runId}.${at.job}`, at]));
    return [...unique.values()];
  }

  /** A replica looks at all groups; others commit before it does, and it may die before it commits. */
  function look(): void {
    const asked = candidates().filter(() => chance(0.8));
    const early = faults.readsBeforeLock === true ? lockAndRead(asked) : undefined;
    if (early !== undefined && chance(0.5)) decideClaims(lockAndRead(candidates()));
    const claims = early ?? lockAndRead(asked);
    const locked = new Set(asked.map(({ runId }) => runId));
    for (let n = below(4); n > 0; n--) move((runId) => !locked.has(runId));
    if (!chance(0.15)) decideClaims(claims);
  }

  /** Somebody asks a run to look at any place, for no reason. */
  function lookAtAny(): void {
    const all: readonly Position[] = [...members(), ...[...rateWaiters().values()].flat()];
    const one = all[below(all.length)];
    if (one !== undefined) decideClaims(lockAndRead([one]));
  }

  /** Something happens to a run that has nothing to do with places. */
  function move(isFree: (runId: string) => boolean = () => true): void {
    const open = [...runs].filter(([runId, { slice }]) => slice.run.finishedMs === undefined && isFree(runId));
    const [runId, ledger] = open[below(open.length)] ?? [];
    if (runId === undefined || ledger === undefined) return;
    const jobs = [...ledger.slice.jobs].filter(([, record]) => !isJobFinished(record.state));
    const [job, record] = jobs[below(jobs.length)] ?? [];
    if (job === undefined || record === undefined) return;
    const by = { reason: 'asked', actor: 'somebody' };
    if (chance(0.06)) {
      const asks: readonly Command[] = [
        { type: 'CancelJob', job, reason: 'asked' },
        { type: 'PauseRun', ...by },
        { type: 'ResumeRun', ...by },
        { type: 'HoldJob', job, ...by },
        { type: 'ReleaseJob', job, ...by },
        { type: 'CancelRun', reason: 'asked', force: chance(0.5) },
        { type: 'ReleaseBackoff', job },
      ];
      return decideOn(runId, asks[below(asks.length)] ?? { type: 'ReleaseBackoff', job });
    }
    const next = nextOf(ledger, job, record);
    if (next !== undefined) decideOn(runId, next);
  }

  function nextOf(ledger: SimulatedLedger, job: number, record: JobRecord): Command | undefined {
    const ref = { job, attempt: record.attempt, instance: liveOf(record)?.instance ?? 1 };
    const content = ledger.attempts.get(attemptKey(job, record.attempt));
    switch (record.state) {
      case 'QUEUED':
        return { type: 'Offer', job, instance: 1, instanceId: 'one' };
      case 'OFFERED':
        if (chance(0.2)) return { type: 'Withdraw', ...ref, expired: chance(0.5), random: random() };
        return { type: 'Accept', ...ref };
      case 'RUNNING':
      case 'CANCELLING': {
        const gone = { failureClass: 'INFRASTRUCTURE', message: 'gone', random: random(), content } as const;
        if (chance(0.1)) return { type: 'Lose', ...ref, ...gone };
        const outcome = record.state === 'CANCELLING' ? 'CANCELLED' : chance(0.6) ? 'SUCCEEDED' : 'FAILED';
        const log = { logSize: 0, logCrc32c: 0, logLost: true };
        const told = { outcome, failureClass: 'WORKLOAD', message: '', random: random(), content } as const;
        return { type: 'Finish', ...ref, ...told, ...log };
      }
      case 'WAITING': {
        nowMs = Math.max(nowMs, dueOf(ledger.slice, job, record) ?? 0);
        return { type: 'Timer', job, eventVersion: EVENT_VERSION, random: random(), content };
      }
      case 'BLOCKED':
      case 'SUCCEEDED':
      case 'FAILED':
      case 'SKIPPED':
      case 'CANCELLED':
        return undefined;
    }
  }

  function settle(): void {
    for (let turn = 0; turn < 1_000; turn++) {
      const before = JSON.stringify([members(), [...rateWaiters()]]);
      if (faults.neverPolls !== true) decideClaims(lockAndRead(candidates()));
      if (JSON.stringify([members(), [...rateWaiters()]]) === before) return;
    }
    throw new Error('broken: groups come to rest');
  }

  return {
    runs,
    decided: () => decided,
    members,
    settle,
    create(definition) {
      const runId = `run-${String(below(1_000)).padStart(3, '0')}-${runs.size}`;
      const ledger = openLedger(definition, faults.decideWith);
      runs.set(runId, ledger);
      decideOn(runId, { type: 'Create', trigger: { kind: 'api', actor: '', reference: '' } });
    },
    step() {
      nowMs += below(4);
      if (chance(0.2)) look();
      else if (chance(0.05)) lookAtAny();
      else move();
    },
    workOff() {
      for (let turn = 0; turn < 5_000; turn++) {
        settle();
        checkRest(members());
        const open = [...runs].find(([, { slice }]) => [...slice.jobs.values()].some(canGoOn));
        if (open === undefined) {
          const nexts = [...rateWaiters().keys()].flatMap((key) => candidatesAt(key, nowMs).nextMs ?? []);
          if (nexts.length === 0) break;
          claim(Math.min(...nexts) > nowMs, 'no tokens are there while a job waits for them');
          nowMs = Math.min(...nexts);
          continue;
        }
        const [runId, ledger] = open;
        const [job, record] = [...ledger.slice.jobs].find(([, one]) => canGoOn(one)) ?? [];
        if (job === undefined || record === undefined) break;
        const by = { reason: 'asked', actor: 'somebody' };
        if (record.state === 'WAITING' && record.wait.reason === 'PAUSED')
          decideOn(runId, { type: 'ResumeRun', ...by });
        else if (record.hold !== undefined) {
          decideOn(runId, { type: 'ReleaseJob', job, ...by });
        } else {
          const next = nextOf(ledger, job, record);
          if (next !== undefined) decideOn(runId, next);
        }
      }
      for (const ledger of runs.values()) {
        claim(ledger.slice.run.finishedMs !== undefined, 'every waiter is served in the end');
        checkReplay(ledger);
      }
      claim(members().length === 0, 'no place is held at rest');
    },
  };
}

function limitOf(plan: Plan, job: number, { details }: JobRecord): number {
  const limit = groupLimitOf(plannedJob(plan, job).definition, details);
  claim(limit !== undefined, 'a job of a group has a limit of it');
  return limit;
}

/** Whether something but a place or tokens keeps a job from going on. */
function canGoOn(record: JobRecord): boolean {
  if (isJobFinished(record.state) || record.state === 'BLOCKED') return false;
  // A matrix that is held begins no more cells.
  return (
    record.hold !== undefined ||
    record.state !== 'WAITING' ||
    !['CONCURRENCY', 'RATE', 'MATRIX'].includes(record.wait.reason)
  );
}
