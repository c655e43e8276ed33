// The schemas of params, compiled once for each content: runs of one pipeline have the same, and to compile one takes up to 100 ms.
import { createHash } from 'node:crypto';
import type { Found } from '../core/check-fields.ts';
import type { JsonObject } from '../core/json.ts';
import { compileSchema, type Schema } from '../core/json-schema.ts';

/** Schemas remembered; the one that was used last the longest ago is forgotten. */
const MAX_SCHEMAS = 200;

export interface ParamsSchemas {
  /** As compileSchema. */
  compile(found: Found, field: string, schema: JsonObject): Schema | undefined;
}

export function createParamsSchemas(): ParamsSchemas {
  const compiled = new Map<string, Schema>();
  return {
    compile(found, field, schema) {
      // In the order of its keys, which is that of what it says is wrong.
      const digest = createHash('sha256').update(JSON.stringify(schema)).digest('base64');
      const known = compiled.get(digest) ?? compileSchema(found, field, schema);
      if (known === undefined) return undefined;
      compiled.delete(digest);
      compiled.set(digest, known);
      const [oldest] = compiled.keys();
      if (compiled.size > MAX_SCHEMAS && oldest !== undefined) compiled.delete(oldest);
      return known;
    },
  };
}
