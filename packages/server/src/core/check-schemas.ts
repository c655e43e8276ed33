// What is wrong with the schemas of a definition. Each different one is compiled once: jobs of a matrix often share theirs.
import { addViolation, type Found, isFull } from './check-fields.ts';
import { checkSchemaWords } from './check-schema-words.ts';
import { type CheckWork, takeSchema } from './check-work.ts';
import type { JobDefinition } from './definition.ts';
import { canonicalJson, type JsonObject } from './json.ts';
import { compileSchema } from './json-schema.ts';
import { LIMITS } from './limits.ts';

export function checkParamsSchema(found: Found, field: string, schema: JsonObject, work: CheckWork): void {
  checkObjectSchema(found, field, schema, 'params', work);
}

/** Lets others go on before each. @param field Of the job at a place in the definition. */
export function* checkOutputsSchemas(
  found: Found,
  field: (index: number) => string,
  jobs: readonly { readonly outputsSchema?: JsonObject | undefined }[],
  work: CheckWork,
): Generator<undefined, void> {
  const seen = new Set<string>();
  for (const [index, { outputsSchema }] of jobs.entries()) {
    if (outputsSchema === undefined) continue;
    const text = canonicalJson(outputsSchema);
    if (seen.has(text)) continue;
    seen.add(text);
    const schemaField = `${field(index)}.outputs_schema`;
    if (seen.size > LIMITS.outputsSchemas) {
      addViolation(
        found,
        schemaField,
        `is one too many: a definition has at most ${LIMITS.outputsSchemas} different ones`,
      );
      return;
    }
    yield;
    checkObjectSchema(found, schemaField, outputsSchema, 'outputs', work);
  }
}

/** The names that an object can have by a schema that allows no others; undefined where it may have any. */
export function closedNames(schema: JsonObject | undefined): readonly string[] | undefined {
  const { properties = {}, patternProperties, additionalProperties } = schema ?? {};
  const isClosed = additionalProperties === false && patternProperties === undefined;
  return isClosed && typeof properties === 'object' && properties !== null ? Object.keys(properties) : undefined;
}

/** The outputs that jobs can have. Those of a matrix are by the keys of its cells. */
export function outputNames(jobs: readonly JobDefinition[]): ReadonlyMap<string, readonly string[]> {
  return new Map(
    jobs.flatMap(({ name, matrix, outputsSchema }) => {
      const names = matrix === undefined ? closedNames(outputsSchema) : undefined;
      return names === undefined ? [] : [[name, names]];
    }),
  );
}

/** @param what What the schema is of, all of it an object. */
export function checkObjectSchema(
  found: Found,
  field: string,
  schema: JsonObject,
  what: 'params' | 'outputs' | 'answers',
  work: CheckWork,
): void {
  const { type } = schema;
  if (type !== undefined && type !== 'object') {
    addViolation(found, `${field}.type`, `must be "object": ${what} are an object`);
  }
  if (isFull(found) || !takeSchema(found, field, work, schema)) return;
  if (compileSchema(found, field, schema) !== undefined) checkSchemaWords(found, field, schema);
}
