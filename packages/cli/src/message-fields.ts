// Owns how a file gives the fields of a message: short names of enums, bounds of whole numbers, durations, and expressions by the name of
// the number that they stand for.
import { type DescEnum, type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';

/** How durations are written: no larger than the contract's Duration may be. */
export const DURATION_PATTERN =
  /^(?:\d{1,14}(?:\.\d{1,9})?ms|\d{1,11}(?:\.\d{1,9})?s|\d{1,9}(?:\.\d{1,9})?m|\d{1,7}(?:\.\d{1,9})?h|\d{1,6}(?:\.\d{1,9})?d)$/;

/** The whole numbers that a field takes. */
export function boundsOf(scalar: ScalarType): { readonly min: number; readonly max: number } {
  switch (scalar) {
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return { min: -2_147_483_648, max: 2_147_483_647 };
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return { min: 0, max: 4_294_967_295 };
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return { min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER };
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return { min: 0, max: Number.MAX_SAFE_INTEGER };
    case ScalarType.STRING:
    case ScalarType.BOOL:
    case ScalarType.BYTES:
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      throw new TypeError(`a field of type ${ScalarType[scalar]} takes no whole numbers`);
  }
}

/** The names by which a file may give a value of an enum: short ones, in any case, and those of the contract. */
export function choicesOf(desc: DescEnum | undefined): readonly { readonly short: string; readonly name: string }[] {
  const prefix = desc?.sharedPrefix ?? '';
  return (desc?.values ?? [])
    .filter(({ number }) => number !== 0)
    .map(({ name }) => ({ short: name.slice(prefix.length).toLowerCase(), name }));
}

/** The field for an expression in place of the number of another one: a file gives either of them by the name of the number. */
export function expressionFieldOf({ parent, name, scalar }: DescField): DescField | undefined {
  if (scalar !== ScalarType.INT32) return undefined;
  return parent.fields.find((other) => other.name === `${name}_expression` && other.scalar === ScalarType.STRING);
}

/** Whether a text has an expression. */
export const EXPRESSION_PATTERN = /\$\{\{/;

/** Sets of fields of which a message has one at most. */
export function alternativesIn(desc: DescMessage): readonly (readonly DescField[])[] {
  const numbers = desc.fields.flatMap((field) => {
    const expression = expressionFieldOf(field);
    return expression === undefined ? [] : [[field, expression]];
  });
  return [...desc.oneofs.map(({ fields }) => fields), ...numbers];
}
