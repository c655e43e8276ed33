// The values that stand in an expression itself: literals, and the names of types that `type(x)` is compared with.
import { CelScalar, type CelType, type CelValue, celUint, listType, mapType, type parse } from '@bufbuild/cel';
import { Failure } from './outcome.ts';

type Kind = ReturnType<typeof parse>['expr']['exprKind'];
export type Constant = Extract<Kind, { case: 'constExpr' }>['value'];

export const TYPES: ReadonlyMap<string, CelType> = new Map<string, CelType>([
  ['int', CelScalar.INT],
  ['uint', CelScalar.UINT],
  ['double', CelScalar.DOUBLE],
  ['bool', CelScalar.BOOL],
  ['string', CelScalar.STRING],
  ['bytes', CelScalar.BYTES],
  ['null_type', CelScalar.NULL],
  ['type', CelScalar.TYPE],
  ['list', listType(CelScalar.DYN)],
  ['map', mapType(CelScalar.DYN, CelScalar.DYN)],
]);

/** The parser takes numbers of any size; a failure completes "the expression …". */
export function literalValue({ constantKind }: Constant): CelValue | Failure {
  switch (constantKind.case) {
    case 'nullValue':
      return null;
    case 'boolValue':
    case 'stringValue':
    case 'bytesValue':
      return constantKind.value;
    case 'doubleValue':
      return Number.isFinite(constantKind.value)
        ? constantKind.value
        : new Failure('has a number too large for a double');
    case 'int64Value':
      if (BigInt.asIntN(64, constantKind.value) === constantKind.value) return constantKind.value;
      return new Failure(`has the number ${constantKind.value}, which is too large for 64 bits`);
    case 'uint64Value':
      if (BigInt.asUintN(64, constantKind.value) === constantKind.value) return celUint(constantKind.value);
      return new Failure(`has the number ${constantKind.value}u, which is too large for 64 bits`);
    case 'durationValue':
    case 'timestampValue':
    case undefined:
      return new Failure('has a literal of an unknown type');
  }
}
