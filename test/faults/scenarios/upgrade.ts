// An upgrade under load: the build of an earlier commit serves first, builds of both serve together, then only this one.
import { monotonicMs } from '../../bench/monotonic-clock.ts';
import type { Fault } from '../fault.ts';
import { lostAttempts } from '../sessions.ts';

/** The newest commit whose database has neither deletion nor the rest of the lifecycle, and which keeps every promise itself. */
const EARLIER = 'Give up what a driver no longer names before it gets new offers';

export const upgradeFaults: readonly Fault[] = [
  {
    name: 'rolling-upgrade',
    says: 'replicas of an earlier commit are replaced under load, one after the other; no attempt is lost',
    // Which no build has made its tables in yet.
    scene: { earlier: EARLIER, ownDatabase: true },
    async strike(stage) {
      if (!stage.isEarlier) return { fired: 0, notRun: `the history that is here has no commit '${EARLIER}'` };
      let replaced = 0;
      const sinceMs = monotonicMs();
      for (const place of stage.places) {
        const old = place.server();
        // The first one brings the database up to date, and both builds serve.
        await place.start();
        await stage.flow();
        if ((await old.stop()) === 0) replaced++;
        await stage.recovery(monotonicMs());
      }
      const lost = await lostAttempts(stage);
      return {
        fired: replaced,
        recoveryMs: monotonicMs() - sinceMs,
        complaints: lost === 0 ? [] : [`${lost} attempts were lost in an upgrade`],
      };
    },
  },
];
