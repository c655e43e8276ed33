// The spec schemas of connected drivers, compiled once each. What a schema says of a spec is remembered with the spec.
import type { FieldViolation } from '../core/refusal.ts';
import type { JsonObject } from '../core/json.ts';
import { compileSchema } from '../core/json-schema.ts';
import { checkBounded } from './bounded-check.ts';

/** Schemas remembered; the oldest are forgotten. */
const MAX_SCHEMAS = 1_000;

/** Whether a spec fits. */
export type AcceptsSpec = (spec: JsonObject) => boolean;

export interface SpecSchemas {
  /** @returns What is wrong with the schema when it cannot be used. */
  compile(digest: string, schema: JsonObject): AcceptsSpec | readonly FieldViolation[];
}

export function createSpecSchemas(): SpecSchemas {
  const compiled = new Map<string, AcceptsSpec>();
  return {
    compile(digest, schema) {
      const known = compiled.get(digest);
      if (known !== undefined) return known;
      const found: FieldViolation[] = [];
      const usable = compileSchema(found, 'spec_schema', schema);
      if (usable === undefined) return found;
      const verdicts = new WeakMap<JsonObject, boolean>();
      const accepts: AcceptsSpec = (spec) => {
        const before = verdicts.get(spec);
        if (before !== undefined) return before;
        const wrong: FieldViolation[] = [];
        checkBounded(usable, wrong, 'spec', spec);
        verdicts.set(spec, wrong.length === 0);
        return wrong.length === 0;
      };
      compiled.set(digest, accepts);
      const [oldest] = compiled.keys();
      if (compiled.size > MAX_SCHEMAS && oldest !== undefined) compiled.delete(oldest);
      return accepts;
    },
  };
}
