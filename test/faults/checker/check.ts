// The offline checker: each item of "what may never happen", by its number, held against the evidence of a scenario.
import { acknowledgedChanges } from './acknowledged-changes.ts';
import { boundedMemory } from './bounded-memory.ts';
import { type Check, type Evidence } from './evidence.ts';
import { eventOrder } from './event-order.ts';
import { groupLimits } from './group-limits.ts';
import { heldSecrets } from './held-secrets.ts';
import { leasesAndFences } from './leases-and-fences.ts';
import { logBytes } from './log-bytes.ts';
import { oneResult } from './one-result.ts';
import { placements } from './placements.ts';
import { rateLimits } from './rate-limits.ts';
import { requestIds } from './request-ids.ts';
import { runsEnd } from './runs-end.ts';
import { slotCounts } from './slot-counts.ts';
import { startsInTime } from './starts-in-time.ts';
import { transitions } from './transitions.ts';

export interface Invariant {
  readonly number: number;
  readonly says: string;
  readonly check: Check;
}

export const invariants: readonly Invariant[] = [
  { number: 1, says: 'no acknowledged change disappears', check: acknowledgedChanges },
  { number: 2, says: 'states move along their graphs, and rows follow from events', check: transitions },
  { number: 3, says: 'one live lease a job, rising fences, no stale write', check: leasesAndFences },
  { number: 4, says: 'one result an attempt', check: oneResult },
  { number: 5, says: 'stored logs are what was sent', check: logBytes },
  { number: 6, says: 'events have no gap, and no watcher goes back or misses one', check: eventOrder },
  { number: 7, says: 'nothing starts too early or after its cancel', check: startsInTime },
  { number: 8, says: 'no slot of an instance or a pool is taken twice or leaks', check: slotCounts },
  { number: 9, says: 'one run a request id', check: requestIds },
  { number: 10, says: 'every accepted run ends', check: runsEnd },
  { number: 11, says: 'no foreign id and no secret is shown', check: heldSecrets },
  { number: 12, says: 'memory stays bounded', check: boundedMemory },
  { number: 13, says: 'no group is over its limit, and no place leaks', check: groupLimits },
  { number: 14, says: 'no rate is exceeded in any window', check: rateLimits },
  { number: 15, says: 'jobs go only to instances that may take them', check: placements },
];

export interface Violation {
  readonly invariant: number;
  readonly complaint: string;
}

export async function checkAll(evidence: Evidence): Promise<Violation[]> {
  const violations: Violation[] = [];
  for (const { number, check } of invariants) {
    for (const complaint of await check(evidence)) violations.push({ invariant: number, complaint });
  }
  return violations;
}
