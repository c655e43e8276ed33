// What a job shares with others that wait for each other: its concurrency group and its rate limits, by key and limit, as its definition has
// them and as its run has worked them out.
import { boundProblem, numberOf } from './bounds.ts';
import { isSharedKey, KEY_RULE } from './check-concurrency.ts';
import { quote } from './check-fields.ts';
import type { JobDefinition } from './definition.ts';
import type { JsonObject, JsonValue } from './json.ts';
import { LIMITS } from './limits.ts';

/** What is recorded of the shares of a job; of limits, those that are worked out. */
export interface Shares {
  /** The key of its concurrency group. */
  readonly group?: string;
  /** How many jobs of its group may hold a place; undefined: as its definition says. */
  readonly groupLimit?: number;
  /** The keys of its rate limits, in their order. */
  readonly rates?: readonly string[];
  /** The limits of these; undefined: as its definition says. */
  readonly rateLimits?: readonly number[];
}

/** A share as its definition has it, or with the values of its expressions. */
interface Share {
  readonly key: JsonValue;
  readonly limit_expression?: JsonValue;
}

/** All that may hold expressions in what a job shares, at the paths of the contract. */
export function sharesIn({ concurrency, rateLimits }: JobDefinition): JsonObject {
  return {
    ...(concurrency !== undefined && { concurrency: { ...shareOf(concurrency) } }),
    ...(rateLimits !== undefined && { rate_limits: rateLimits.map((rate) => ({ ...shareOf(rate) })) }),
  };
}

function shareOf({ key, limit }: { readonly key: string; readonly limit: number | string }): Share {
  return { key, ...(typeof limit === 'string' && { limit_expression: limit }) };
}

/** @param resolved What sharesIn gave, with the values of its expressions. */
export function readShares(
  { concurrency, rateLimits }: JobDefinition,
  resolved: JsonObject,
): Shares | { readonly error: string } {
  // It has the shape of sharesIn.
  const values = resolved as { readonly concurrency?: Share; readonly rate_limits?: readonly Share[] };
  const rateValues = values.rate_limits ?? [];
  const all = [...(values.concurrency === undefined ? [] : [values.concurrency]), ...rateValues];
  const wrong = all.map(({ key }) => keyOf(key)).find((key) => !isSharedKey(key));
  if (wrong !== undefined) {
    return { error: `the key of a group or rate limit must become ${KEY_RULE}; one became ${quote(wrong)}` };
  }
  const group = values.concurrency && keyOf(values.concurrency.key);
  const groupLimit = values.concurrency?.limit_expression;
  const problem = groupLimit === undefined ? undefined : boundProblem(groupLimit, LIMITS.groupLimit);
  if (problem !== undefined) return { error: `the limit of its concurrency group ${quote(group ?? '')} ${problem}` };
  for (const [n, { key, limit_expression: limit }] of rateValues.entries()) {
    const rateProblem = limit === undefined ? undefined : rateLimitProblem(limit, rateLimits?.[n]?.cost ?? 1);
    if (rateProblem !== undefined) return { error: `the limit of its rate limit ${quote(keyOf(key))} ${rateProblem}` };
  }
  const isOpen = rateValues.some(({ limit_expression: limit }) => limit !== undefined);
  const limits = rateValues.map(({ limit_expression: limit }, n) => Number(limit ?? rateLimits?.[n]?.limit));
  return {
    ...(concurrency !== undefined && group !== undefined && { group }),
    ...(groupLimit !== undefined && { groupLimit: Number(groupLimit) }),
    ...(rateLimits !== undefined && { rates: rateValues.map(({ key }) => keyOf(key)) }),
    ...(isOpen && { rateLimits: limits }),
  };
}

function rateLimitProblem(limit: JsonValue, cost: number): string | undefined {
  const problem = boundProblem(limit, LIMITS.rateTokens);
  if (problem !== undefined || Number(limit) >= cost) return problem;
  return `became ${Number(limit)}, and the job takes ${cost} tokens: it could never start`;
}

/** A number is as good as its text; what is no text at all becomes none. */
function keyOf(value: JsonValue): string {
  return typeof value === 'object' ? '' : String(value);
}

/** How many jobs of its group may hold a place, by what a job states itself; undefined while nobody knows, and without a group. */
export function groupLimitOf({ concurrency }: JobDefinition, shares: Shares | undefined): number | undefined {
  return shares?.groupLimit ?? numberOf(concurrency?.limit);
}

export interface RateTaken {
  readonly key: string;
  readonly limit: number;
  /** How many tokens the job takes, and how long these need to come. */
  readonly cost: number;
  readonly costMs: number;
  readonly periodMs: number;
}

/** What a job takes of its rate limits, in their order; none while nobody knows. */
export function ratesTaken({ rateLimits = [] }: JobDefinition, shares: Shares | undefined): readonly RateTaken[] {
  return (shares?.rates ?? []).map((key, n) => {
    const rate = rateLimits[n];
    const limit = shares?.rateLimits?.[n] ?? numberOf(rate?.limit);
    if (rate === undefined || limit === undefined) throw new Error(`rate limit ${key} is none of its job's definition`);
    const { cost, periodMs } = rate;
    return { key, limit, cost, costMs: (cost * periodMs) / limit, periodMs };
  });
}
