// What the scene of a scenario is like, and what it is like unless a scenario says otherwise.
import type { Timing } from '@conveyor/server';
import type { TestDatabase } from '../../packages/server/src/store/testing/database.ts';
import type { SourceMutation } from './preload/mutated-sources.ts';
import type { Random } from './random.ts';

export interface StageOptions {
  readonly random: Random;
  /** How often what kills everything does so. */
  readonly kills: number;
  /** How long transactions stay idle, beyond what the load needs. */
  readonly idleMs: number;
  /** How many. Default: 2. */
  readonly replicas: number;
  /** How many processes. Default: 2, of 4 slots each. */
  readonly drivers: number;
  /** Default: leases that outlast a busy machine, with heartbeats that soon miss a replica. */
  readonly timing: Timing;
  /** How many clients call at once, and how long each rests in between. Default: 3, 60 ms. */
  readonly workers: number;
  readonly pauseMs: number;
  /** A PostgreSQL of its own, to be killed. Default: a database of the one that all scenarios share. */
  readonly ownDatabase: boolean;
  /** Another database, made below a directory of the stage. Default: as `ownDatabase` says. */
  readonly openDatabase: ((directory: string) => Promise<TestDatabase>) | undefined;
  /** By how much wall clocks are wrong: of each place by turns, and of the drivers. Default: none. */
  readonly skewsMs: readonly number[];
  readonly driverSkewMs: number;
  /** Whether drivers repeat and reorder their frames. Default: false. */
  readonly meddle: boolean;
  /** The subject of the commit whose build the replicas are of at first. Default: they are of this one. */
  readonly earlier: string | undefined;
  /** Done to the sources of every replica. Default: nothing. */
  readonly mutation: SourceMutation | undefined;
  /** How long runs and watchers may take to come to their end. Default: 30 s. */
  readonly settleMs: number;
}

export const usual = {
  replicas: 2,
  drivers: 2,
  timing: { leaseMs: 15_000, heartbeatMs: 500 },
  workers: 3,
  pauseMs: 60,
  ownDatabase: false,
  openDatabase: undefined,
  skewsMs: [],
  driverSkewMs: 0,
  meddle: false,
  earlier: undefined,
  mutation: undefined,
  settleMs: 30_000,
} satisfies Partial<StageOptions>;
