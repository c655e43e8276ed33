// The fields of variables whose shape is known before a run: one that is not among them is a slip, found when it is compiled.
import { type parse } from '@bufbuild/cel';
import { quote } from '../check-fields.ts';
import { nearestName } from '../nearest-name.ts';
import type { Scope } from './nodes.ts';

type Expr = ReturnType<typeof parse>['expr'];

/** Fields that are listed where none is near. */
const LISTED = 10;

/** Why there is no such field in what it is taken of; undefined where there is, or where nobody can know. */
export function describeUnknownField(
  { roots, fields }: Scope,
  operand: Expr | undefined,
  field: string,
): string | undefined {
  const name = variableName(operand);
  const needed = name === undefined && variableName(containerOf(operand)) === 'needs';
  const root = roots.find((known) => known === (needed ? 'needs' : name));
  if (root === undefined || (root === 'needs' && !needed)) return undefined;
  const known = fields?.[root];
  if (known === undefined || known.includes(field)) return undefined;
  const near = nearestName(field, known);
  const hint = near === undefined ? `; known are ${listed(known)}` : `; did you mean ${quote(near)}?`;
  return `${needed ? 'a job of needs' : root} has no field ${quote(field)}${hint}`;
}

function variableName(expr: Expr | undefined): string | undefined {
  return expr?.exprKind.case === 'identExpr' ? expr.exprKind.value.name : undefined;
}

/** Of what a field or an entry is taken. */
function containerOf(expr: Expr | undefined): Expr | undefined {
  const kind = expr?.exprKind;
  if (kind?.case === 'selectExpr') return kind.value.testOnly ? undefined : kind.value.operand;
  return kind?.case === 'callExpr' && kind.value.function === '_[_]' ? kind.value.args[0] : undefined;
}

function listed(names: readonly string[]): string {
  if (names.length === 0) return 'none';
  return names.length <= LISTED ? names.join(', ') : `${names.slice(0, LISTED).join(', ')}, …`;
}
