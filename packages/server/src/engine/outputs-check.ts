// Whether outputs fit the schema of their job. A compiled schema is kept as long as the plan that it is part of.
import type { CheckedOutputs } from '../core/commands.ts';
import { type Found, tellFound } from '../core/check-fields.ts';
import { canonicalJson, type JsonObject } from '../core/json.ts';
import { compileSchema, type Schema } from '../core/json-schema.ts';
import { checkBounded } from './bounded-check.ts';

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
    return found.length === 0
      ? { text }
      : { text, problem: `${tellFound(found)}: the job's outputs_schema does not allow it` };
  };
}
