// Owns which schema names are accepted: those that need no quoting anywhere, so that a name never changes meaning.
import { DatabaseStartError } from './start-error.ts';

/** Throws SCHEMA_NAME_INVALID unless the name can be written unquoted in SQL and in connection options. */
export function assertSchemaName(schema: string): void {
  if (/^[a-z_][a-z0-9_]{0,62}$/.test(schema) && !schema.startsWith('pg_')) return;
  throw new DatabaseStartError(
    'SCHEMA_NAME_INVALID',
    `schema ${JSON.stringify(schema)} is not accepted: use up to 63 of a-z, 0-9 and _, not starting with a digit or pg_`,
  );
}
