// Owns what `conveyor describe job` says of the limits of a job: what each was worked out to, and by which expression.
import { durationMs } from '@bufbuild/protobuf/wkt';
import type { Job } from '@conveyor/client';
import { duration } from './text.ts';

/** The limits of a job that are known, by name. */
export function limitFields({
  concurrencyLimit,
  rateLimits,
  maxParallel,
  definition,
}: Job): readonly (readonly [name: string, value: string])[] {
  const { concurrency, rateLimits: rates = [], matrix } = definition ?? {};
  const rateTexts = rateLimits.map(({ key, limit }, n) => {
    const { period, limitExpression } = rates[n] ?? {};
    return `${key} ${limitText(limit, limitExpression)}${period === undefined ? '' : ` in ${duration(durationMs(period))}`}`;
  });
  return [
    ['Group limit', limitText(concurrencyLimit, concurrency?.limitExpression)],
    ['Rate limits', rateTexts.join(', ')],
    ['Cells at a time', limitText(maxParallel, matrix?.maxParallelExpression)],
  ];
}

function limitText(limit: number, expression = ''): string {
  if (limit === 0) return '';
  return expression === '' ? String(limit) : `${limit} by ${expression}`;
}
