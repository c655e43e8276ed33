// Whether outputs fit the schema of their job. A compiled schema is kept as long as the plan that it is part of.
import type { CheckedOutputs } from '../core/commands.ts';
import type { Found } from '../core/check-fields.ts';
import { canonicalJson, type JsonObject } from '../core/json.ts';
import { compileSchema, type Schema } from '../core/json-schema.ts';
import { checkBounded } from './bounded-check.ts';

/** Of a message, in characters: none has more than LIMITS.messageBytes then. */
const MAX_PROBLEM = 1_000;

export type OutputsCheck = (schema: JsonObject, outputs: JsonObject) => CheckedOutputs;

export function createOutputsCheck(): OutputsCheck {
  const compiled = new WeakMap<JsonObject, Schema>();

  function compile(schema: JsonObject): Schema | undefined {
    const known = compiled.get(schema) ?? compileSchema([], 'outputs_schema', schema);
    if (known !== undefined) compiled.set(schema, known);
    return known;
  }

  return (schema, outputs) => {
    const text = canonicalJson(outputs);
    const found: Found = [];
    const takes = compile(schema);
    // It was stored by a newer build, which knows more of it.
    if (takes === undefined) return { text, problem: 'the outputs_schema of the job cannot be used by this server' };
    checkBounded(takes, found, 'outputs', outputs);
    const [first] = found;
    if (first === undefined) return { text };
    const more = found.length > 1 ? ` (and ${found.length - 1} more)` : '';
    return {
      text,
      problem: shorten(`${first.field} ${first.description}`) + `${more}: the job's outputs_schema does not allow it`,
    };
  };
}

function shorten(text: string): string {
  return text.length > MAX_PROBLEM ? `${text.slice(0, MAX_PROBLEM - 1).toWellFormed()}…` : text;
}
