// Reads what is assumed of the jobs of a plan. Whether the definition has such jobs, and they can end so, is for the engine to say.
import { JobState } from '@conveyor/protocol/conveyor/v1/job_pb.js';
import type { AssumedOutcome as AssumedMessage } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import type { AssumedOutcome, Assumptions } from '../core/assumptions.ts';
import { addViolation, checkCount, entryPath, type Found } from '../core/check-fields.ts';
import { LIMITS } from '../core/limits.ts';

const OUTCOMES: Readonly<Record<number, AssumedOutcome['outcome']>> = {
  [JobState.UNSPECIFIED]: 'SUCCEEDED',
  [JobState.SUCCEEDED]: 'SUCCEEDED',
  [JobState.FAILED]: 'FAILED',
  [JobState.CANCELLED]: 'CANCELLED',
  [JobState.SKIPPED]: 'SKIPPED',
};

export function decodeAssumed(
  found: Found,
  field: string,
  assumed: Readonly<Record<string, AssumedMessage>>,
): Assumptions {
  const entries = Object.entries(assumed);
  checkCount(found, field, entries.length, LIMITS.jobsPerRun);
  return new Map(
    entries.map(([name, { outcome: state, outputs }]): [string, AssumedOutcome] => {
      const outcome = OUTCOMES[state];
      if (outcome === undefined) {
        const path = `${entryPath(field, name)}.outcome`;
        addViolation(found, path, `must be SUCCEEDED, FAILED, CANCELLED or SKIPPED; got ${JobState[state] ?? state}`);
      }
      return [name, { outcome: outcome ?? 'SUCCEEDED', ...(outputs !== undefined && { outputs }) }];
    }),
  );
}
