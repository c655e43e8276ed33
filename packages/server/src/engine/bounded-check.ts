// Checks values against schemas that whoever may connect a driver or store a pipeline wrote. What may take long is cut off, since the
// whole process waits for it.
import { createContext, Script } from 'node:vm';
import { addViolation, type Found } from '../core/check-fields.ts';
import type { Schema } from '../core/json-schema.ts';
import type { JsonObject } from '../core/json.ts';

const MAX_CHECK_MS = 200;

/** What the checks of one request may take together. */
export const MAX_CHECKS_MS = 2_000;

/** Counts what the checks of one request take, of which each may take long. */
export interface CheckTime {
  isOver(): boolean;
  take<T>(check: () => T): T;
}

export function createCheckTime(): CheckTime {
  let spentMs = 0;
  return {
    isOver: () => spentMs > MAX_CHECKS_MS,
    take(check) {
      const beganMs = performance.now();
      const made = check();
      spentMs += performance.now() - beganMs;
      return made;
    },
  };
}

const context = createContext({ work: undefined as (() => void) | undefined });
const script = new Script('work()');

/**
 * Adds what is wrong with the value, with paths under `field`; also when that takes too long to find out.
 * @returns A copy of the value with the schema's defaults filled in.
 */
export function checkBounded(schema: Schema, found: Found, field: string, value: JsonObject): JsonObject {
  if (!schema.isCostly(JSON.stringify(value).length)) return schema.check(found, field, value);
  const own: Found = [];
  let filled = value;
  context.work = () => {
    filled = schema.check(own, field, value);
  };
  try {
    script.runInContext(context, { timeout: MAX_CHECK_MS });
    found.push(...own);
  } catch (error) {
    if (!isEndless(error)) throw error;
    addViolation(found, field, `takes longer than ${MAX_CHECK_MS} ms to check: have its schema refer to itself less`);
  } finally {
    context.work = undefined;
  }
  return filled;
}

function isEndless(error: unknown): boolean {
  // A schema that is itself uses up the stack first.
  if (error instanceof RangeError) return true;
  // Made in the context, it is no Error of this realm.
  return (
    typeof error === 'object' && error !== null && 'code' in error && error.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT'
  );
}
