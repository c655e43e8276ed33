// Sees to concurrency groups and rate limits: whenever a place or tokens may be there for a job, or a job is to give its place up, its run
// is told to look. It goes by what is stored, so any replica takes up what another one left; asking a run twice has no second effect.
import { candidatesOf, type Position } from '../core/group.ts';
import type { RunId } from '../core/ids.ts';
import { rateCandidates } from '../core/rate.ts';
import { groupsWaitedFor, loadGroups, rejectingWaiters } from '../store/group-rows.ts';
import { readClock } from '../store/ledger-rows.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import { rateLines, ratesWaitedFor } from '../store/rate-rows.ts';
import type { Tx } from '../store/sql.ts';
import type { SharedKey } from '../store/start-locks.ts';
import type { Ledger } from './ledger.ts';
import type { Log } from './log.ts';
import type { StartsChanged } from './member-changes.ts';
import { createRing } from './ring.ts';
import { createUnderWay } from './under-way.ts';

/** Groups, or rate limits, that are looked at together. */
const MAX_BATCH = 200;
/** How late it is noticed what another replica did. */
const POLL_MS = 1_000;
/** Between two looks for tokens. */
const SHORTEST_MS = 10;
/** Whose claims are under way, of all and of one project: decisions that take long are made one after the other. */
const MAX_RUNS = 1_000;
const MAX_OF_PROJECT = 250;
/** How soon those are looked at again that were left for it. */
const LEFT_MS = 200;
/** Claims of one run that are decided on at once. */
const MAX_OF_RUN = 100;

const BEGINNING: SharedKey = { project: '', key: '' };

export interface Places {
  /** Jobs have begun to wait for places or tokens, or given up places. */
  changed(starts: StartsChanged): void;
  run(signal: AbortSignal): Promise<void>;
}

export interface PlacesOptions {
  readonly pool: Pool;
  readonly ledger: Pick<Ledger, 'submit'>;
  readonly log: Log;
}

/** A job that may claim a place or tokens. */
interface Found extends Position {
  readonly of: SharedKey;
}

type ReadWaitedFor = (tx: Tx, after: SharedKey, limit: number) => Promise<readonly SharedKey[]>;

export function createPlaces({ pool, ledger, log }: PlacesOptions): Places {
  const bell = createRing();
  const underWay = createUnderWay({
    maxKeys: MAX_RUNS,
    maxOfOwner: MAX_OF_PROJECT,
    maxParts: MAX_OF_RUN,
    failed: 'places could not be claimed, trying again',
    log,
  });
  const changedGroups = new Map<string, SharedKey>();
  const changedRates = new Map<string, SharedKey>();
  /** When tokens of which rate limits will be there for somebody, of this process's clock. */
  const tokens = new Map<string, { readonly rate: SharedKey; readonly dueMs: number }>();
  /** What was left, and when that is looked at again. */
  const leftGroups = new Map<string, SharedKey>();
  const leftRates = new Map<string, SharedKey>();
  let leftMs = Number.POSITIVE_INFINITY;

  /** Also of those that are asked now: what was decided on it may be from before what has changed since. */
  async function ask(found: readonly Found[], left: Map<string, SharedKey>): Promise<void> {
    for (const [project, own] of Map.groupBy(found, ({ of }) => of.project)) {
      const isLeft = await underWay.begin(
        own.map(({ runId, job }) => ({
          key: runId,
          part: job,
          owner: project,
          work: () => ledger.submit(runId as RunId, { type: 'ClaimPlace', job }),
        })),
      );
      if (!isLeft) continue;
      leftMs = Math.min(leftMs, performance.now() + LEFT_MS);
      for (const { of } of own) left.set(idOf(of), of);
    }
  }

  async function lookAtGroups(groups: readonly SharedKey[]): Promise<void> {
    const found = await withConnection(pool, async (tx) => {
      const states = await loadGroups(tx, groups);
      const rejecting = await rejectingWaiters(tx, groups);
      return [...foundOf(groups, states.map(candidatesOf)), ...rejecting.map((at) => ({ ...at, of: at.group }))];
    });
    await ask(found, leftGroups);
  }

  async function lookAtRates(rates: readonly SharedKey[]): Promise<void> {
    const { lines, nowMs } = await withConnection(pool, async (tx) => {
      const atMs = await readClock(tx);
      return { lines: await rateLines(tx, rates, atMs), nowMs: atMs };
    });
    const aheadMs = performance.now() - nowMs;
    const found = lines.map((rate) => rateCandidates(rate, rate.line, nowMs));
    rates.forEach((rate, i) => {
      const nextMs = found[i]?.nextMs;
      if (nextMs === undefined) tokens.delete(idOf(rate));
      else tokens.set(idOf(rate), { rate, dueMs: nextMs + aheadMs });
    });
    const claims = found.map(({ now }) => now);
    await ask(foundOf(rates, claims), leftRates);
  }

  /** What it is told of meanwhile is for the next time: however much that is, the others are looked at, too. */
  async function lookAtChanged(): Promise<void> {
    const groups = takeAll(changedGroups);
    const atMs = performance.now();
    for (const { rate, dueMs } of tokens.values()) if (dueMs <= atMs) changedRates.set(idOf(rate), rate);
    const rates = takeAll(changedRates);
    if (atMs >= leftMs) {
      leftMs = Number.POSITIVE_INFINITY;
      groups.push(...takeAll(leftGroups));
      rates.push(...takeAll(leftRates));
    }
    for (let at = 0; at < groups.length; at += MAX_BATCH) await lookAtGroups(groups.slice(at, at + MAX_BATCH));
    for (let at = 0; at < rates.length; at += MAX_BATCH) await lookAtRates(rates.slice(at, at + MAX_BATCH));
  }

  async function lookAtAll(
    read: ReadWaitedFor,
    look: (keys: readonly SharedKey[]) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    for (let after = BEGINNING; !signal.aborted; ) {
      const keys = await withConnection(pool, (tx) => read(tx, after, MAX_BATCH));
      if (keys.length > 0) await look(keys);
      const last = keys[MAX_BATCH - 1];
      if (last === undefined) return;
      after = last;
    }
  }

  return {
    changed({ groups, rates }) {
      for (const group of groups) changedGroups.set(idOf(group), group);
      for (const rate of rates) changedRates.set(idOf(rate), rate);
      if (groups.length + rates.length > 0) bell.ring();
    },
    async run(signal) {
      let failing = false;
      for (let nextMs = 0; !signal.aborted; ) {
        const now = performance.now();
        let soonestMs = leftMs;
        for (const { dueMs } of tokens.values()) soonestMs = Math.min(soonestMs, dueMs);
        await bell.wait(Math.max(0, Math.min(nextMs - now, Math.max(SHORTEST_MS, soonestMs - now))), signal);
        if (signal.aborted) break;
        try {
          await lookAtChanged();
          // Whatever nobody told of here, and what was lost with whoever was told.
          if (performance.now() >= nextMs) {
            await lookAtAll(groupsWaitedFor, lookAtGroups, signal);
            await lookAtAll(ratesWaitedFor, lookAtRates, signal);
            nextMs = performance.now() + POLL_MS * (0.75 + Math.random() / 2);
          }
          failing = false;
        } catch (error) {
          if (!failing && !signal.aborted) log.warn({ err: error }, 'places could not be seen to, trying again');
          failing = true;
          tokens.clear();
          nextMs = performance.now() + POLL_MS;
        }
      }
      await underWay.settled();
    },
  };
}

/** @param candidates Of each group or rate limit, in its place. */
function foundOf(keys: readonly SharedKey[], candidates: readonly (readonly Position[])[]): readonly Found[] {
  return keys.flatMap((of, i) => (candidates[i] ?? []).map((at) => ({ ...at, of })));
}

function idOf({ project, key }: SharedKey): string {
  return `${project}\n${key}`;
}

function takeAll(changed: Map<string, SharedKey>): SharedKey[] {
  const all = [...changed.values()];
  changed.clear();
  return all;
}
