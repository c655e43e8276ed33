// Every fault that the suite knows, in the order in which they are brought about.
import type { Fault } from './fault.ts';
import { databaseFaults } from './scenarios/database-trouble.ts';
import { crowdFaults } from './scenarios/crowds.ts';
import { failoverFaults } from './scenarios/failover.ts';
import { processFaults } from './scenarios/processes.ts';

export const catalogue: readonly Fault[] = [...processFaults, ...databaseFaults, ...failoverFaults, ...crowdFaults];
