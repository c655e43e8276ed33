// What the checks of one request may take: what is costly in a definition is counted, so that it is refused in the same way everywhere,
// before it has taken long.
import { addViolation, type Found } from './check-fields.ts';
import type { JsonValue } from './json.ts';
import { LIMITS } from './limits.ts';

/** Of one request, whatever it holds: definitions, schemas, appended jobs. */
export interface CheckWork {
  /** Of the conditions, and of the texts with expressions. */
  characters: number;
  /** Of different patterns of expressions. */
  states: number;
  /** Of schemas. */
  schemas: number;
  /** Patterns that were counted. */
  readonly patterns: Set<string>;
}

export function createCheckWork(): CheckWork {
  return { characters: 0, states: 0, schemas: 0, patterns: new Set() };
}

/** Whether a request may have so many more characters of expressions; adds to `found` when it may not. */
export function takeCharacters(found: Found, field: string, work: CheckWork, characters: number): boolean {
  const max = LIMITS.requestExpressionCharacters;
  const isFirst = work.characters <= max;
  work.characters += characters;
  if (work.characters <= max) return true;
  if (isFirst) {
    const description = `with it the conditions and the texts with expressions of the request have more than ${max} characters: send it by itself`;
    addViolation(found, field, description);
  }
  return false;
}

/** As takeCharacters, for a pattern of so many states. One that was counted costs nothing. */
export function takePattern(found: Found, field: string, work: CheckWork, source: string, states: number): boolean {
  if (work.patterns.has(source)) return true;
  work.patterns.add(source);
  work.states += states;
  if (work.states <= LIMITS.requestPatternStates) return true;
  const description = `with it the different patterns of the request have ${work.states} states with their repetitions written out, of at most ${LIMITS.requestPatternStates}: let jobs share patterns`;
  addViolation(found, field, description);
  return false;
}

/** As takeCharacters, for a schema, which has a bound of its own, too. */
export function takeSchema(found: Found, field: string, work: CheckWork, schema: JsonValue): boolean {
  const size = schemaWork(schema);
  if (size > LIMITS.schemaWork) {
    const description = `would take too long to check: its keywords count ${size}, of at most ${LIMITS.schemaWork}; each keyword and subschema counts 1, a pattern 5 and 1 for 20 characters, and all of it 3 times where unevaluatedProperties or unevaluatedItems is used`;
    addViolation(found, field, description);
    return false;
  }
  work.schemas += size;
  if (work.schemas <= LIMITS.requestSchemaWork) return true;
  const description = `is one too many: the keywords of the schemas of the request count ${work.schemas} with it, of at most ${LIMITS.requestSchemaWork}`;
  addViolation(found, field, description);
  return false;
}

/** About how long it takes to compile a schema, in parts of a second: 25,000 of them are one. */
export function schemaWork(schema: JsonValue): number {
  const counted = { work: 0, isUnevaluated: false };
  countKeywords(counted, schema);
  return counted.work * (counted.isUnevaluated ? 3 : 1);
}

function countKeywords(counted: { work: number; isUnevaluated: boolean }, schema: JsonValue): void {
  if (typeof schema !== 'object' || schema === null) return;
  if (Array.isArray(schema)) {
    for (const item of schema) countKeywords(counted, item);
    return;
  }
  counted.work++;
  for (const [keyword, value] of Object.entries(schema)) {
    if (typeof value !== 'boolean') counted.work++;
    if (keyword === 'pattern' && typeof value === 'string') counted.work += patternWork(value);
    if (keyword === 'patternProperties' && typeof value === 'object' && value !== null) {
      for (const pattern of Object.keys(value)) counted.work += patternWork(pattern);
    }
    if (keyword.startsWith('unevaluated')) counted.isUnevaluated = true;
    countKeywords(counted, value);
  }
}

function patternWork(pattern: string): number {
  return 5 + Math.ceil(pattern.length / 20);
}
