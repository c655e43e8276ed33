// Wall clocks that are wrong: decisions go by the database's, so nothing comes of it.
import { monotonicMs } from '../../bench/monotonic-clock.ts';
import type { Fault } from '../fault.ts';

const HOUR_MS = 3_600_000;

export const clockFaults: readonly Fault[] = [
  {
    name: 'skewed-clocks',
    says: 'the clocks of replicas are an hour fast and an hour slow, those of drivers an hour fast',
    scene: { skewsMs: [HOUR_MS, -HOUR_MS], driverSkewMs: HOUR_MS },
    async strike(stage) {
      await stage.flow(15);
      // The id of a run says what its replica took for the time.
      const runs = await stage.system.query<{ fast: boolean }>(
        `select ms > created_ms as fast from (
           select created_ms, ('x' || lpad(left(replace(run_id::text, '-', ''), 12), 16, '0'))::bit(64)::bigint as ms
           from runs where project = 'default'
         ) r where abs(ms - created_ms) > $1`,
        [HOUR_MS / 2],
      );
      const fast = runs.filter(({ fast }) => fast).length;
      const slow = runs.length - fast;
      // The time of a line of log is that of its driver.
      const lines = await stage.system.query(
        `select 1 from log_chunks where (spans -> 0 ->> 2)::bigint > extract(epoch from clock_timestamp()) * 1000 + $1`,
        [HOUR_MS / 2],
      );
      return { fired: Math.min(fast, slow, lines.length), recoveryMs: await stage.recovery(monotonicMs()) };
    },
  },
];
