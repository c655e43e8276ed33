// Owns errors as the server sends them: a code with an ErrorInfo, and a BadRequest for wrong fields with the places in
// their texts.
import { Code, ConnectError } from '@connectrpc/connect';
import { codeFromString } from '@connectrpc/connect/protocol-connect';
import { TextPlacesSchema } from '@conveyor/protocol/conveyor/v1/error_pb.js';
import { BadRequestSchema, ErrorInfoSchema } from '@conveyor/protocol/google/rpc/error_details_pb.js';
import type { ErrorCode, ErrorReason, FieldViolation } from '../error.ts';

/** An error with its reason. */
export function refusal(
  code: ErrorCode,
  reason: ErrorReason,
  message: string,
  { metadata = {}, fields = [] }: { metadata?: Record<string, string>; fields?: readonly FieldViolation[] } = {},
): ConnectError {
  const connectCode = codeFromString(code === 'cancelled' ? 'canceled' : code) ?? Code.Unknown;
  const fieldViolations = fields.map(({ field, description }) => ({ field, description }));
  const places = fields.flatMap(({ offset }, violation) => (offset === undefined ? [] : [{ violation, offset }]));
  return new ConnectError(message, connectCode, undefined, [
    { desc: ErrorInfoSchema, value: { domain: 'conveyor.dev', reason, metadata } },
    ...(fields.length === 0 ? [] : [{ desc: BadRequestSchema, value: { fieldViolations } }]),
    ...(places.length === 0 ? [] : [{ desc: TextPlacesSchema, value: { places } }]),
  ]);
}
