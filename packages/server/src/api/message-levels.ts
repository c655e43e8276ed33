// How deep messages may be that come in. They are decoded far deeper than JSON may be, so that a check can name the field; what is
// deeper still says how deep it may be.
import { LIMITS } from '../core/limits.ts';

export const READ_OPTIONS = { recursionLimit: LIMITS.messageLevels } as const;

/** Follows the name of a message. */
export const TOO_DEEP = `is too deep: at most ${LIMITS.jsonLevels} lists and objects may be inside of each other in JSON; flatten it, or give it as a text`;

/** Whether a message could not be decoded for that. */
export function isTooDeep(error: unknown): boolean {
  if (typeof error !== 'object' || error === null || !('message' in error)) return false;
  return String(error.message).includes('maximum recursion depth');
}
