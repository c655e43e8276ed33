// Owns references to what work makes: their bounds, and how they are said.
import type { Attempt } from './attempt.ts';
import { type Frame, frame } from './frames.ts';

/** A reference to something that the work made. Its bytes are kept where the platform keeps them. */
export interface JobArtifact {
  /** For people and for finding it: 1 to 256 characters. */
  readonly name: string;
  /** `algorithm:hex` in lower case, such as `sha256:` and 64 digits. */
  readonly digest: string;
  /** In bytes. */
  readonly size: number;
  /** Where it is: an absolute URI of at most 2,048 printable ASCII characters. Not for secrets. Default: not said. */
  readonly uri?: string;
  /** Such as `application/gzip`, at most 255 characters. Default: not said. */
  readonly mediaType?: string;
}

const maxArtifacts = 1_000;
const maxName = 256;
const digestPattern = /^([a-z][a-z0-9+._-]{0,31}):((?:[0-9a-f]{2}){4,128})$/;
const digitsOf: ReadonlyMap<string, number> = new Map([
  ['sha256', 64],
  ['sha384', 96],
  ['sha512', 128],
]);
const uriPattern = /^[A-Za-z][A-Za-z0-9+.-]*:[!-~]+$/;
const mediaTypePattern = /^[A-Za-z0-9!#$&^_.+-]{1,127}\/[A-Za-z0-9!#$&^_.+-]{1,127}(?: *;[ -~]*)?$/;

/** Throws a RangeError for what the control plane would not take. */
export function assertArtifact({ name, digest, size, uri = '', mediaType = '' }: JobArtifact): void {
  const length = Array.from(name).length;
  if (length < 1 || length > maxName)
    throw new RangeError(`the artifact's name has ${length} characters, not 1 to ${maxName}`);
  if (name.includes('\0')) throw new RangeError("the artifact's name contains NUL");
  const [, algorithm = '', hex = ''] = digestPattern.exec(digest) ?? [];
  if (hex.length !== (digitsOf.get(algorithm) ?? hex.length) || hex === '') {
    throw new RangeError(
      `digest ${JSON.stringify(digest)} is not algorithm:hex in lower case, such as sha256: and 64 digits`,
    );
  }
  if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`size ${size} is no whole number of bytes`);
  if (uri !== '' && (uri.length > 2_048 || !uriPattern.test(uri))) {
    throw new RangeError(`uri ${JSON.stringify(uri)} is no absolute URI of at most 2,048 printable ASCII characters`);
  }
  if (mediaType !== '' && (mediaType.length > 255 || !mediaTypePattern.test(mediaType))) {
    throw new RangeError(`mediaType ${JSON.stringify(mediaType)} is no type/subtype of at most 255 characters`);
  }
}

/** Says an artifact. @param number From 1 for each attempt. Throws a RangeError past the 1,000th. */
export function sayArtifact(attempt: Attempt, number: number, artifact: JobArtifact): void {
  if (number > maxArtifacts) throw new RangeError(`an attempt has at most ${maxArtifacts} artifacts`);
  attempt.report(`artifact ${number}`, artifactFrame(attempt, number, artifact));
}

function artifactFrame({ id, fence }: Attempt, number: number, artifact: JobArtifact): Frame {
  const { digest, size, uri = '', mediaType = '' } = artifact;
  const name = artifact.name.toWellFormed();
  return frame(
    {
      case: 'declareArtifact',
      value: {
        $typeName: 'conveyor.v1.DeclareArtifact',
        attemptId: id,
        fence,
        number,
        artifact: { $typeName: 'conveyor.v1.Artifact', name, digest, sizeBytes: BigInt(size), uri, mediaType },
      },
    },
    Buffer.byteLength(name) + digest.length + uri.length + mediaType.length,
  );
}
