// What became of a run between two events, as the contract shows it.
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { DiffRunResponseSchema, JobChangeSchema } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { formatJobId } from '../core/ids.ts';
import type { JobChangeView, RunDiffView } from '../core/views.ts';
import { encodeJobPoint } from './encode-job.ts';
import { encodeRunHeader } from './encode-run.ts';

/** All but the token of the next page. */
export function encodeRunDiff({ before, after, changedJobs, jobs }: RunDiffView) {
  return {
    before: encodeRunHeader(before),
    after: encodeRunHeader(after),
    eventCount: BigInt(after.seq - before.seq),
    changedJobCount: changedJobs,
    jobs: jobs.items.map(encodeJobChange),
  } satisfies MessageInitShape<typeof DiffRunResponseSchema>;
}

function encodeJobChange({
  name,
  before,
  after,
  changedFields,
  ...key
}: JobChangeView): MessageInitShape<typeof JobChangeSchema> {
  return {
    jobId: formatJobId(key),
    job: name,
    before: before && encodeJobPoint(before),
    after: encodeJobPoint(after),
    changedFields: [...changedFields],
  };
}
