// Every fault that the suite knows, in the order in which they are brought about.
import type { Fault } from './fault.ts';
import { cancelFaults } from './scenarios/cancels.ts';
import { clockFaults } from './scenarios/clocks.ts';
import { commitFaults } from './scenarios/commits.ts';
import { connectionFaults } from './scenarios/connections.ts';
import { crowdFaults } from './scenarios/crowds.ts';
import { databaseFaults } from './scenarios/database-trouble.ts';
import { failoverFaults } from './scenarios/failover.ts';
import { frameFaults } from './scenarios/frames.ts';
import { postgresFaults } from './scenarios/postgres.ts';
import { processFaults } from './scenarios/processes.ts';
import { upgradeFaults } from './scenarios/upgrade.ts';

export const catalogue: readonly Fault[] = [
  ...commitFaults,
  ...processFaults,
  ...connectionFaults,
  ...postgresFaults,
  ...databaseFaults,
  ...failoverFaults,
  ...clockFaults,
  ...frameFaults,
  ...cancelFaults,
  ...crowdFaults,
  ...upgradeFaults,
];

// The end of one replica, in order or not, has tests of its own, which play with every change, too.
const quick = [
  'killed-before-commit',
  'killed-after-commit',
  'commit-lost',
  'offer-lost',
  'zombie-driver',
  'silent-connections',
  'severed-connections',
  'killed-postgres',
  'everything-killed',
  'repeated-frames',
  'stale-writes',
];

/** Those that are brought about with every change. */
export const short: readonly Fault[] = catalogue.filter(({ name }) => quick.includes(name));
