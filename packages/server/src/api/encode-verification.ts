// What VerifyRun found, as the contract shows it.
import type { MessageInitShape } from '@bufbuild/protobuf';
import { DiscrepancyKind, type VerifyRunResponseSchema } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import type { Verification } from '../core/ledger-check.ts';

export function encodeVerification(verification: Verification): MessageInitShape<typeof VerifyRunResponseSchema> {
  const { verified, discrepancyCount, discrepancies } = verification;
  return {
    verified: {
      events: BigInt(verified.events),
      jobs: BigInt(verified.jobs),
      attempts: BigInt(verified.attempts),
      logs: BigInt(verified.logs),
      logBytes: BigInt(verified.logBytes),
      expiredLogs: BigInt(verified.expiredLogs),
    },
    discrepancyCount: BigInt(discrepancyCount),
    discrepancies: discrepancies.map(({ kind, where, expected, found }) => ({
      kind: DiscrepancyKind[kind],
      where,
      expected: expected.toWellFormed(),
      found: found.toWellFormed(),
    })),
  };
}
