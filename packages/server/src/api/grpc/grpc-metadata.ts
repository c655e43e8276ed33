// Metadata of native gRPC calls as the headers that access and services read, bounded.
import type { Metadata } from '@grpc/grpc-js';
import { RefusedError } from '../../core/refusal.ts';

/** As HTTP/2 counts a header list (RFC 9113, section 6.5.2). */
const MAX_METADATA_BYTES = 16_384;
const ENTRY_OVERHEAD = 32;

/** @throws RefusedError LIMIT_REACHED */
export function headersOf(metadata: Metadata): Headers {
  const headers = new Headers();
  let bytes = 0;
  for (const [key, values] of Object.entries(metadata.toJSON())) {
    for (const value of values) {
      bytes += key.length + value.length + ENTRY_OVERHEAD;
      if (typeof value === 'string') headers.append(key, value);
    }
  }
  if (bytes > MAX_METADATA_BYTES) {
    throw new RefusedError({
      refused: 'LIMIT_REACHED',
      message: `the call's metadata has ${bytes} bytes; at most ${MAX_METADATA_BYTES} are taken`,
      metadata: { limit: 'metadata_bytes', max: String(MAX_METADATA_BYTES) },
    });
  }
  return headers;
}
