// Demand as the contract says it.
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { DemandSchema } from '@conveyor/protocol/conveyor/v1/demand_pb.js';
import type { DemandView } from '../core/demand.ts';
import { encodeRule } from './placement-codec.ts';

export function encodeDemand({
  driver,
  required,
  pool = '',
  queued,
  paused,
  more,
  oldestMs,
  instances,
  slots,
  freeSlots,
  held,
}: DemandView): MessageInitShape<typeof DemandSchema> {
  return {
    driver,
    required: required.map(encodeRule),
    pool,
    queued,
    paused,
    moreQueued: more,
    ...(oldestMs !== undefined && { oldestQueueTime: timestampFromMs(oldestMs) }),
    instances,
    slots,
    freeSlots,
    held,
  };
}
