// What one session holds, as a copy of the ledger in memory: offers, attempts in hand, and orphans of an earlier process. It counts
// against the slots and says what is overdue; it decides nothing.
import type { Orphan } from '../core/frames.ts';
import { type AttemptKey, formatAttemptId } from '../core/ids.ts';
import type { CancelPhase } from '../core/states.ts';

export interface Hold {
  readonly key: AttemptKey;
  /** The pool of which it takes a slot. */
  readonly pool: string | undefined;
  /** On the process's monotonic clock. */
  readonly sinceMs: number;
  /** When an offer that is not answered is withdrawn. */
  readonly deadlineMs: number;
  /** ASKED: a command that starts or ends it is under way, and its answer decides. */
  phase: 'OFFERED' | 'ASKED' | 'RUNNING';
  /** A stop to be told once it has started. */
  stop?: { readonly phase: CancelPhase; readonly reason: string };
}

interface Waiting {
  readonly orphan: Orphan;
  readonly deadlineMs: number;
}

export interface Holds {
  /** How many slots are taken. */
  taken(): number;
  /** How many slots of a pool are. */
  takenOf(pool: string): number;
  find(key: AttemptKey): Hold | undefined;
  add(key: AttemptKey, phase: Hold['phase'], offerTimeoutMs: number, pool: string | undefined): Hold;
  drop(key: AttemptKey): void;
  all(): readonly Hold[];
  addOrphan(orphan: Orphan): void;
  /** The orphan, which from now on is answered. */
  takeOrphan(key: AttemptKey): Orphan | undefined;
  overdueOffers(): readonly Hold[];
  /** Orphans that nobody answered in time; they count as answered from now on. */
  takeOverdueOrphans(): readonly Orphan[];
  /** All of them; they count as answered from now on. */
  takeOrphans(): readonly Orphan[];
}

export function createHolds(): Holds {
  const holds = new Map<string, Hold>();
  const orphans = new Map<string, Waiting>();

  return {
    taken: () => holds.size + orphans.size,
    takenOf(pool) {
      let taken = 0;
      for (const hold of holds.values()) if (hold.pool === pool) taken++;
      for (const { orphan } of orphans.values()) if (orphan.offer.pool === pool) taken++;
      return taken;
    },
    find: (key) => holds.get(formatAttemptId(key)),
    add(key, phase, offerTimeoutMs, pool) {
      const sinceMs = performance.now();
      const hold: Hold = { key, pool, sinceMs, deadlineMs: sinceMs + offerTimeoutMs, phase };
      holds.set(formatAttemptId(key), hold);
      return hold;
    },
    drop(key) {
      const id = formatAttemptId(key);
      holds.delete(id);
      orphans.delete(id);
    },
    all: () => [...holds.values()],
    addOrphan(orphan) {
      const deadlineMs = performance.now() + orphan.offer.offerTimeoutMs;
      orphans.set(formatAttemptId(orphan.offer.key), { orphan, deadlineMs });
    },
    takeOrphan(key) {
      const id = formatAttemptId(key);
      const found = orphans.get(id)?.orphan;
      orphans.delete(id);
      return found;
    },
    overdueOffers() {
      const nowMs = performance.now();
      return [...holds.values()].filter((hold) => hold.phase === 'OFFERED' && hold.deadlineMs <= nowMs);
    },
    takeOverdueOrphans() {
      const nowMs = performance.now();
      const overdue = [...orphans].filter(([, waiting]) => waiting.deadlineMs <= nowMs);
      for (const [id] of overdue) orphans.delete(id);
      return overdue.map(([, waiting]) => waiting.orphan);
    },
    takeOrphans() {
      const all = [...orphans.values()];
      orphans.clear();
      return all.map((waiting) => waiting.orphan);
    },
  };
}
