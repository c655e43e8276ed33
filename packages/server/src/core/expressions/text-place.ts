// Owns places in the text of a field: what is wrong at one says its column, counted from 1, and its line where the text has several.
import type { FieldViolation } from '../refusal.ts';

export interface TextPlace {
  /** All of the text that the field has. */
  readonly text: string;
  /** In UTF-16 units. */
  readonly offset: number;
}

export function violationAt(field: string, description: string, { text, offset }: TextPlace): FieldViolation {
  const lines = text.slice(0, offset).split('\n');
  const column = (lines.at(-1) ?? '').length + 1;
  const place = text.includes('\n') ? `line ${lines.length}, column ${column}` : `column ${column}`;
  return { field, description: `at ${place}: ${description}`, offset };
}
