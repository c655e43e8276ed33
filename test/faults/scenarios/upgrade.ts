// An upgrade under load: the build of an earlier commit serves first, builds of both serve together, then only this one.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monotonicMs } from '../../bench/monotonic-clock.ts';
import { checkOutEarlier } from '../earlier-build.ts';
import type { Fault } from '../fault.ts';
import { lostAttempts } from '../sessions.ts';

/** The first version that was described as a whole. */
const EARLIER = 'f467a8ad9c0ee1bd6cd1ab1a3a06a9c4d4d4ddc9';

export const upgradeFaults: readonly Fault[] = [
  {
    name: 'rolling-upgrade',
    says: `replicas of commit ${EARLIER.slice(0, 7)} are replaced under load, one after the other; no attempt is lost`,
    scene: { emptyDatabase: true },
    async strike(stage) {
    },
  },
];
