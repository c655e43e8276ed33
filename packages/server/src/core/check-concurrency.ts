// What is wrong with the concurrency group of a job, and what the key of one may be.
import { addViolation, checkBounded, checkText, type Found, quote } from './check-fields.ts';
import type { ConcurrencyPolicy, JobDefinition } from './definition.ts';
import { mentionsTemplate } from './expressions/template.ts';
import { LIMITS } from './limits.ts';

export interface ConcurrencyInput {
  readonly key: string;
  /** 0: not set. */
  readonly limit: number;
  readonly policy?: string | undefined;
}

export const GROUP_KEY_RULE = `a text of 1 to ${LIMITS.groupKeyLength} characters without NUL`;

const POLICIES: readonly ConcurrencyPolicy[] = ['QUEUE', 'REPLACE_PENDING', 'CANCEL_RUNNING', 'REJECT'];

export function isGroupKey(key: string): boolean {
  return key !== '' && key.length <= LIMITS.groupKeyLength && !key.includes('\0');
}

export function checkConcurrency(
  found: Found,
  field: string,
  input: ConcurrencyInput | undefined,
): Pick<JobDefinition, 'concurrency'> {
  if (input === undefined) return {};
  const { key, limit, policy = 'QUEUE' } = input;
  if (mentionsTemplate(key)) checkText(found, `${field}.key`, key, LIMITS.expressionLength);
  else if (!isGroupKey(key)) addViolation(found, `${field}.key`, `must be ${GROUP_KEY_RULE}; got ${quote(key)}`);
  const bounds = { min: 1, max: LIMITS.groupLimit, integer: true };
  const known = POLICIES.find((one) => one === policy);
  if (known === undefined) {
    addViolation(found, `${field}.policy`, `must be one of ${POLICIES.join(', ')}; got ${quote(policy)}`);
  }
  return {
    concurrency: {
      key,
      limit: checkBounded(found, `${field}.limit`, limit === 0 ? undefined : limit, 1, bounds),
      policy: known ?? 'QUEUE',
    },
  };
}
