// What reflection tells: every service of the contract and health, with all that they refer to, and the details of errors.
import { type DescService, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { file_conveyor_v1_error } from '@conveyor/protocol/conveyor/v1/error_pb.js';
import { file_google_rpc_error_details } from '@conveyor/protocol/google/rpc/error_details_pb.js';
import { file_google_rpc_status } from '@conveyor/protocol/google/rpc/status_pb.js';
import { file_grpc_health_v1_health } from '@conveyor/protocol/grpc/health/v1/health_pb.js';
import type { Server } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { withDependencies } from '../contract-files.ts';

const FORMAT = 'Protocol Buffer 3 EnumDescriptorProto';

export function addReflection(server: Server, services: readonly DescService[]): void {
  const details = [file_conveyor_v1_error, file_google_rpc_error_details, file_google_rpc_status];
  const roots = [...details, file_grpc_health_v1_health];
  const files = withDependencies([...services.map(({ file }) => file), ...roots]);
  // Reflection reads nothing of a package definition but its files.
  const fileDescriptorProtos = files.map(({ proto }) => Buffer.from(toBinary(FileDescriptorProtoSchema, proto)));
  new ReflectionService({ all: { format: FORMAT, type: {}, fileDescriptorProtos } }).addToServer(server);
}
