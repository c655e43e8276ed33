// What is wrong with the concurrency group and the rate limits of a job, and what their keys may be.
import { checkBound } from './bounds.ts';
import { addViolation, checkBounded, checkCount, checkDuration, checkText, type Found, quote } from './check-fields.ts';
import type { ConcurrencyPolicy, JobDefinition } from './definition.ts';
import { mentionsTemplate } from './expressions/template.ts';
import { LIMITS } from './limits.ts';

export interface ConcurrencyInput {
  readonly key: string;
  /** 0: not set. */
  readonly limit: number;
  /** Undefined: not set. */
  readonly limitExpression?: string | undefined;
  readonly policy?: string | undefined;
}

export interface RateLimitInput {
  readonly key: string;
  /** 0: not set. */
  readonly limit: number;
  /** Undefined: not set. */
  readonly limitExpression?: string | undefined;
  readonly periodMs?: number | undefined;
  /** 0: not set. */
  readonly cost: number;
}

export const KEY_RULE = `a text of 1 to ${LIMITS.sharedKeyLength} characters without NUL`;

const POLICIES: readonly ConcurrencyPolicy[] = ['QUEUE', 'REPLACE_PENDING', 'CANCEL_RUNNING', 'REJECT'];

export function isSharedKey(key: string): boolean {
  return key !== '' && key.length <= LIMITS.sharedKeyLength && !key.includes('\0');
}

export function checkConcurrency(
  found: Found,
  field: string,
  input: ConcurrencyInput | undefined,
): Pick<JobDefinition, 'concurrency'> {
  if (input === undefined) return {};
  const { key, limit, limitExpression, policy = 'QUEUE' } = input;
  checkKey(found, `${field}.key`, key);
  const bound = { value: limit === 0 ? undefined : limit, expression: limitExpression };
  const known = POLICIES.find((one) => one === policy);
  if (known === undefined) {
    addViolation(found, `${field}.policy`, `must be one of ${POLICIES.join(', ')}; got ${quote(policy)}`);
  }
  return {
    concurrency: {
      key,
      limit: checkBound(found, `${field}.limit`, bound, LIMITS.groupLimit) ?? 1,
      policy: known ?? 'QUEUE',
    },
  };
}

export function checkRateLimits(
  found: Found,
  field: string,
  inputs: readonly RateLimitInput[],
): Pick<JobDefinition, 'rateLimits'> {
  if (inputs.length === 0) return {};
  checkCount(found, field, inputs.length, LIMITS.rateLimits);
  const keys = inputs.map(({ key }) => key);
  return {
    rateLimits: inputs.map(({ key, limit, limitExpression, periodMs, cost }, index) => {
      const at = `${field}[${index}]`;
      checkKey(found, `${at}.key`, key);
      if (keys.indexOf(key) < index) addViolation(found, `${at}.key`, `names ${quote(key)} again`);
      if (periodMs === undefined) addViolation(found, `${at}.period`, 'is required: 1 s to 31 days');
      const bounds = { min: 1_000, max: 31 * 86_400_000, bounds: '1 s to 31 days' };
      const isOpen = limitExpression !== undefined;
      const bound = { value: isOpen && limit === 0 ? undefined : limit, expression: limitExpression };
      const checked = checkBound(found, `${at}.limit`, bound, LIMITS.rateTokens) ?? 1;
      const tokens = { min: 1, max: LIMITS.rateTokens, integer: true };
      const taken = checkBounded(found, `${at}.cost`, cost === 0 ? undefined : cost, 1, tokens);
      // Of a limit that is not known yet its run sees to it.
      if (!isOpen && limit >= 1 && taken > limit && taken <= LIMITS.rateTokens)
        addViolation(
          found,
          `${at}.cost`,
          `must be at most the limit, which is ${limit}: else no job ever starts; got ${taken}`,
        );
      return {
        key,
        limit: checked,
        periodMs: checkDuration(found, `${at}.period`, periodMs, bounds) ?? 1_000,
        cost: taken,
      };
    }),
  };
}

function checkKey(found: Found, field: string, key: string): void {
  if (mentionsTemplate(key)) checkText(found, field, key, LIMITS.expressionLength);
  else if (!isSharedKey(key)) addViolation(found, field, `must be ${KEY_RULE}; got ${quote(key)}`);
}
