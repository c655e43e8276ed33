// Owns errors as the server sends them: a code with an ErrorInfo, and a BadRequest for wrong fields.
import { type Code, ConnectError } from '@connectrpc/connect';
import { BadRequestSchema, ErrorInfoSchema } from '@conveyor/protocol/google/rpc/error_details_pb.js';
import type { ErrorReason, FieldViolation } from '../error.ts';

/** An error with its reason. */
export function refusal(
  code: Code,
  reason: ErrorReason,
  message: string,
  { metadata = {}, fields = [] }: { metadata?: Record<string, string>; fields?: readonly FieldViolation[] } = {},
): ConnectError {
  return new ConnectError(message, code, undefined, [
    { desc: ErrorInfoSchema, value: { domain: 'conveyor.dev', reason, metadata } },
    ...(fields.length === 0 ? [] : [{ desc: BadRequestSchema, value: { fieldViolations: [...fields] } }]),
  ]);
}
