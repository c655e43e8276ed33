// Errors as native gRPC carries them: code, message, and the details as a google.rpc.Status that every language can read.
import { create, toBinary } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import type { ConnectError } from '@connectrpc/connect';
import { StatusSchema } from '@conveyor/protocol/google/rpc/status_pb.js';
import { Metadata } from '@grpc/grpc-js';

export interface GrpcStatus {
  readonly code: number;
  readonly details: string;
  readonly metadata: Metadata;
}

export function grpcStatus({ code, rawMessage: message, details }: ConnectError): GrpcStatus {
  const packed = details.flatMap((detail) =>
    'desc' in detail ? [anyPack(detail.desc, create(detail.desc, detail.value))] : [],
  );
  const status = create(StatusSchema, { code, message, details: packed });
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', Buffer.from(toBinary(StatusSchema, status)));
  return { code, details: message, metadata };
}
