// Every fault that the suite knows, in the order in which they are brought about.
import type { Fault } from './fault.ts';
import { clockFaults } from './scenarios/clocks.ts';
import { commitFaults } from './scenarios/commits.ts';
import { connectionFaults } from './scenarios/connections.ts';
import { databaseFaults } from './scenarios/database.ts';
import { frameFaults } from './scenarios/frames.ts';
import { processFaults } from './scenarios/processes.ts';

export const catalogue: readonly Fault[] = [
  ...commitFaults,
  ...databaseFaults,
  ...connectionFaults,
  ...processFaults,
  ...clockFaults,
  ...frameFaults,
];
