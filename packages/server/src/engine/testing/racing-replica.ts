// Owns what one replica writes with, on connections of its own, so that a test can have several decide on the same runs at once. A
// test can have it run other SQL than it should, to see that this is noticed.
import type { Hello } from '../../core/frames.ts';
import type { RunId } from '../../core/ids.ts';
import type { Command } from '../../core/commands.ts';
import { EVENT_VERSION } from '../../core/event-versions.ts';
import { DEFAULT_TIMING, LIMITS } from '../../core/limits.ts';
import { isRefusal } from '../../core/refusal.ts';
import { createPools } from '../../store/connect.ts';
import { type LeaseRef, seizeLeases } from '../../store/instance-rows.ts';
import type { Lane } from '../../store/lane.ts';
import { readClock } from '../../store/ledger-rows.ts';
import { withTransaction } from '../../store/pool.ts';
import type { TestDatabase } from '../../store/testing/database.ts';
import { rewriting, type Rewrites } from '../../store/testing/rewriting-lane.ts';
import { createLedger } from '../ledger.ts';
import { createLogWriter, type LogEntry, type LogResult } from '../log-writer.ts';
import { createComposeStart } from '../offers.ts';
import { createPlans } from '../plans.ts';
import { createDriverSchemas } from '../driver-schemas.ts';
import { createRunCache } from '../run-cache.ts';
import type { LedgerReply, Writer } from '../run-work.ts';
import { createSpecSchemas } from '../spec-schemas.ts';
import { type Takeover, takeOverInstance } from '../takeover.ts';

export interface RacingReplica extends AsyncDisposable {
  submit(runId: RunId, command: Command, writer?: Writer): Promise<LedgerReply>;
  write(writer: Writer, entry: LogEntry): Promise<LogResult>;
  /** Opens the next session of an instance that `connect` of a ledger fixture registered. */
  takeOver(hello: Pick<Hello, 'driver' | 'instance' | 'held'>): Promise<Takeover>;
  /** Takes an expired lease away from its session, as a rescue does first. Undefined: somebody else has the instance. */
  seize(instance: number): Promise<LeaseRef | undefined>;
}

export async function openRacingReplica({ config }: TestDatabase, rewrites: Rewrites = {}): Promise<RacingReplica> {
  const pools = await createPools(config);
  const openLane = (name: string): Lane => rewriting(pools.openLane(name), rewrites);
  const plans = createPlans();
  const ledger = createLedger({
    lane: openLane('transitions'),
    patientLane: openLane('patient transitions'),
    flushing: {
      plans,
      cache: createRunCache(),
      schemas: createDriverSchemas(pools.pool),
      eventVersion: () => EVENT_VERSION,
    },
    onCommitted: () => undefined,
  });
  const logWriter = createLogWriter({
    lane: openLane('logs'),
    maxLogBytes: LIMITS.logBytes,
    onGrown: () => undefined,
  });
  const takeover = {
    pool: pools.pool,
    plans,
    ledger,
    composeStart: createComposeStart(pools.pool, undefined),
    schemas: createSpecSchemas(),
    replica: 'test',
    timing: DEFAULT_TIMING,
    maxLogBytes: LIMITS.logBytes,
    capabilities: () => [],
  };

  return {
    async submit(runId, command, writer) {
      return (await ledger.submit(runId, command, writer === undefined ? {} : { writer })).reply;
    },
    write: (writer, entry) => new Promise((resolve) => logWriter.write(writer, entry, resolve)),
    async takeOver(hello) {
      const taken = await takeOverInstance(
        takeover,
        { role: 'driver', id: 'test' },
        {
          incarnation: Buffer.from(hello.instance),
          capabilities: [],
          labels: {},
          slots: 1,
          pools: {},
          version: '',
          ...hello,
        },
      );
      if (isRefusal(taken)) throw new Error(taken.message);
      return taken;
    },
    async seize(instance) {
      const [lease] = await withTransaction(pools.pool, async (tx) =>
        seizeLeases(tx, [instance], await readClock(tx), 60_000),
      );
      return lease;
    },
    async [Symbol.asyncDispose]() {
      await logWriter[Symbol.asyncDispose]();
      await ledger[Symbol.asyncDispose]();
      await pools[Symbol.asyncDispose]();
    },
  };
}
