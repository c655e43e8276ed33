// Concurrency groups as the contract shows them.
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type ConcurrencyGroupMemberSchema,
  ConcurrencyGroupMemberState,
  type ConcurrencyGroupSchema,
} from '@conveyor/protocol/conveyor/v1/concurrency_group_pb.js';
import { ConcurrencyPolicy } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import type { GroupView, MemberView } from '../core/group.ts';
import { formatJobId, type RunId } from '../core/ids.ts';

export function encodeGroup({
  key,
  holding,
  waiting,
  limit,
}: GroupView): MessageInitShape<typeof ConcurrencyGroupSchema> {
  return { key, holdingCount: holding, waitingCount: waiting, limit };
}

export function encodeMember(member: MemberView): MessageInitShape<typeof ConcurrencyGroupMemberSchema> {
  const { runId, job, readyMs, state, limit, policy } = member;
  return {
    jobId: formatJobId({ runId: runId as RunId, job }),
    runId,
    state: ConcurrencyGroupMemberState[state],
    readyTime: timestampFromMs(readyMs),
    limit,
    policy: ConcurrencyPolicy[policy],
  };
}
