import { expect, test } from 'vitest';
import { checkArtifact } from './check-artifact.ts';
import type { Found } from './check-fields.ts';
import type { Artifact } from './events.ts';

const sound: Artifact = {
  name: 'dist/app.tar.gz',
  digest: `sha256:${'0a'.repeat(32)}`,
  sizeBytes: 1_024,
  uri: 's3://builds/app.tar.gz',
  mediaType: 'application/gzip',
};

function findings(change: Partial<Artifact>): Found {
  const found: Found = [];
  checkArtifact(found, 'artifact', { ...sound, ...change });
  return found;
}

test.each<[string, Partial<Artifact>]>([
  ['the usual', {}],
  ['the least', { uri: '', mediaType: '', sizeBytes: 0, name: 'a' }],
  ['the largest', { name: 'ä'.repeat(256), uri: `x:${'y'.repeat(2_046)}`, sizeBytes: Number.MAX_SAFE_INTEGER }],
  ['sha512', { digest: `sha512:${'f'.repeat(128)}` }],
  ['a short checksum', { digest: 'crc32c:00ff00ff' }],
  ['an algorithm with a separator', { digest: `blake2b-256:${'ab'.repeat(32)}` }],
  ['a media type with a parameter', { mediaType: 'text/html; charset=utf-8' }],
  ['a vendor media type', { mediaType: 'application/vnd.oci.image.manifest.v1+json' }],
])('takes %s', (_, change) => {
  expect(findings(change)).toEqual([]);
});

test.each<[string, Partial<Artifact>, string, RegExp]>([
  ['no name', { name: '' }, 'name', /is required/],
  ['a long name', { name: 'x'.repeat(257) }, 'name', /at most 256/],
  ['NUL in the name', { name: 'a\0' }, 'name', /NUL/],
  ['no digest', { digest: '' }, 'digest', /is required.*sha256/],
  ['a digest without algorithm', { digest: '0a'.repeat(32) }, 'digest', /algorithm:hex/],
  ['a digest in upper case', { digest: `sha256:${'0A'.repeat(32)}` }, 'digest', /lower case/],
  ['a short sha256', { digest: `sha256:${'0a'.repeat(31)}` }, 'digest', /64 hexadecimal digits for sha256; has 62/],
  ['a long sha256', { digest: `sha256:${'0a'.repeat(64)}` }, 'digest', /has 128/],
  ['half a byte', { digest: 'md5:123456789' }, 'digest', /algorithm:hex/],
  ['a digest that is no hex', { digest: `sha256:${'xy'.repeat(32)}` }, 'digest', /algorithm:hex/],
  ['a digest that is far too long', { digest: `x:${'ab'.repeat(129)}` }, 'digest', /algorithm:hex/],
  ['a line behind the digest', { digest: `${sound.digest}\n` }, 'digest', /algorithm:hex/],
  ['a negative size', { sizeBytes: -1 }, 'size_bytes', /must be 0 or more; got -1/],
  ['a size that is no number of ours', { sizeBytes: 2 ** 60 }, 'size_bytes', /must be 0 or more/],
  ['a relative URI', { uri: 'builds/app' }, 'uri', /absolute URI/],
  ['white space in the URI', { uri: 's3://a b' }, 'uri', /absolute URI/],
  ['a long URI', { uri: `x:${'y'.repeat(2_047)}` }, 'uri', /at most 2048/],
  ['half a media type', { mediaType: 'gzip' }, 'media_type', /type\/subtype/],
  ['a long media type', { mediaType: `text/plain;${'x'.repeat(245)}` }, 'media_type', /255/],
  ['a media type that is not printable', { mediaType: 'text/plain; x=\u0007' }, 'media_type', /printable/],
])('refuses %s', (_, change, field, description) => {
  expect(findings(change)).toContainEqual({
    field: `artifact.${field}`,
    description: expect.stringMatching(description),
  });
});
