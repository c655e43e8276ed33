// Owns how many jobs may go on at the same time, and how often they start: concurrency groups, rate limits, and limits by expression.
import type { DurationText } from './duration.ts';

/** A text that is one expression and nothing else, such as `${{ needs.plan.outputs.shards }}`: its value takes its place. */
export type ExpressionText = `\${{${string}}}`;

/** A whole number, or an expression of one that the run works out. */
export type Limit = number | ExpressionText;

/** A group of jobs of one project, of whatever runs, of which few may be under way at the same time. */
export interface ConcurrencyOptions {
  /** What jobs of one group have in common; it may hold expressions. */
  readonly key: string;
  /** How many jobs of the group may hold a place. Default: 1. */
  readonly limit?: Limit | undefined;
  /** What becomes of the job, or of others, when it finds no place. Default: `queue`. */
  readonly policy?: 'queue' | 'replace_pending' | 'cancel_running' | 'reject' | undefined;
}

/** A bucket of tokens that jobs of one project share; the job takes some whenever it is queued. */
export interface RateLimitOptions {
  /** What jobs of one rate have in common; it may hold expressions. */
  readonly key: string;
  /** How many tokens come in a period, and how many there are at most. */
  readonly limit: Limit;
  readonly period: DurationText;
  /** How many tokens the job takes. Default: 1. */
  readonly cost?: number | undefined;
}
