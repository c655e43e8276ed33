// Page tokens and cursors as clients see them: the engine's own position, bound by a digest to the request that it belongs to.
import { createHash } from 'node:crypto';
import { canonicalJson } from '../core/json.ts';
import { RefusedError } from '../core/refusal.ts';

const DIGEST_BYTES = 9;
const DIGEST_LENGTH = 12;
const MAX_LENGTH = 4_096;

/**
 * @param position What the engine goes on from; undefined on the last page.
 * @param request Whatever must stay the same from page to page: the method and its filter.
 * @returns An opaque token, empty on the last page.
 */
export function encodePageToken(position: string | undefined, request: unknown): string {
  return position === undefined ? '' : `${digestOf(request)}${Buffer.from(position).toString('base64url')}`;
}

/**
 * Reads a token; an empty one is none.
 * @param field Where the request carries it.
 * @throws RefusedError INVALID_CURSOR when it is malformed or belongs to another request.
 */
export function decodePageToken(field: string, token: string, request: unknown): string | undefined {
  if (token === '') return undefined;
  if (token.length > MAX_LENGTH || !token.startsWith(digestOf(request))) {
    const description = 'is not from this list: send what the page before gave, with the same filter';
    throw new RefusedError({
      refused: 'INVALID_CURSOR',
      message: `${field} ${description}`,
      violations: [{ field, description }],
    });
  }
  return Buffer.from(token.slice(DIGEST_LENGTH), 'base64url').toString();
}

function digestOf(request: unknown): string {
  return createHash('sha256').update(canonicalJson(request)).digest().subarray(0, DIGEST_BYTES).toString('base64url');
}
