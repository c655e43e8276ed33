// References to artifacts between the contract and core.
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type {
  Artifact as ArtifactMessage,
  ArtifactSchema,
  RunArtifactSchema,
} from '@conveyor/protocol/conveyor/v1/artifact_pb.js';
import { checkArtifact } from '../core/check-artifact.ts';
import { addViolation, type Found } from '../core/check-fields.ts';
import type { Artifact } from '../core/events.ts';
import { formatJobId } from '../core/ids.ts';
import type { RunArtifactView } from '../core/views.ts';

export function decodeArtifact(found: Found, field: string, message: ArtifactMessage | undefined): Artifact {
  const { name = '', digest = '', sizeBytes = 0n, uri = '', mediaType = '' } = message ?? {};
  const artifact = { name, digest, sizeBytes: Number(sizeBytes), uri, mediaType };
  if (message === undefined) addViolation(found, field, 'is required');
  else checkArtifact(found, field, artifact);
  return artifact;
}

export function encodeArtifact(artifact: Artifact): MessageInitShape<typeof ArtifactSchema> {
  const { name, digest, sizeBytes, uri, mediaType } = artifact;
  return { name, digest, sizeBytes: BigInt(sizeBytes), uri, mediaType };
}

export function encodeRunArtifact(view: RunArtifactView): MessageInitShape<typeof RunArtifactSchema> {
  const { jobName, attempt, number, artifact, addedMs } = view;
  return {
    artifact: encodeArtifact(artifact),
    jobId: formatJobId(view),
    job: jobName,
    attempt,
    number,
    createTime: timestampFromMs(addedMs),
  };
}
