// What is wrong with a reference to an artifact. The bounds are those of artifact.proto.
import { addViolation, checkText, type Found, quote } from './check-fields.ts';
import type { Artifact } from './events.ts';

const MAX_NAME = 256;
const MAX_URI = 2_048;
const DIGEST = /^([a-z][a-z0-9+._-]{0,31}):((?:[0-9a-f]{2}){4,128})$/;
/** Hexadecimal digits of the algorithms that everybody means the same by. */
const DIGITS: ReadonlyMap<string, number> = new Map([
  ['sha256', 64],
  ['sha384', 96],
  ['sha512', 128],
]);
const URI = /^[A-Za-z][A-Za-z0-9+.-]*:[!-~]+$/;
const MEDIA_TYPE = /^[A-Za-z0-9!#$&^_.+-]{1,127}\/[A-Za-z0-9!#$&^_.+-]{1,127}(?: *;[ -~]*)?$/;

/** Adds what is wrong to `found`, with paths under `field`. */
export function checkArtifact(
  found: Found,
  field: string,
  { name, digest, sizeBytes, uri, mediaType }: Artifact,
): void {
  if (name === '') addViolation(found, `${field}.name`, `is required: 1 to ${MAX_NAME} characters`);
  checkText(found, `${field}.name`, name, MAX_NAME);
  checkDigest(found, `${field}.digest`, digest);
  if (!(Number.isSafeInteger(sizeBytes) && sizeBytes >= 0)) {
    addViolation(found, `${field}.size_bytes`, `must be 0 or more; got ${sizeBytes}`);
  }
  checkText(found, `${field}.uri`, uri, MAX_URI);
  if (uri !== '' && !URI.test(uri)) {
    addViolation(
      found,
      `${field}.uri`,
      `must be an absolute URI of printable ASCII without spaces, or left out; got ${quote(uri)}`,
    );
  }
  if (mediaType !== '' && !(mediaType.length <= 255 && MEDIA_TYPE.test(mediaType))) {
    const rule = 'must be `type/subtype` of at most 255 printable ASCII characters, or left out';
    addViolation(found, `${field}.media_type`, `${rule}; got ${quote(mediaType)}`);
  }
}

function checkDigest(found: Found, field: string, digest: string): void {
  const rule = 'as `algorithm:hex` in lower case, such as `sha256:` and 64 digits';
  if (digest === '') return addViolation(found, field, `is required: ${rule}`);
  const [, algorithm = '', hex = ''] = DIGEST.exec(digest) ?? [];
  const digits = DIGITS.get(algorithm);
  if (hex === '') addViolation(found, field, `must be written ${rule}; got ${quote(digest)}`);
  else if (digits !== undefined && hex.length !== digits) {
    addViolation(found, field, `must have ${digits} hexadecimal digits for ${algorithm}; has ${hex.length}`);
  }
}
