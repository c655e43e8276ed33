// Where the parts of an expression begin in its source. The parser has the place of an operator where that stands, of a field and of a
// method at the dot before it.
import type { parse } from '@bufbuild/cel';

type Parsed = ReturnType<typeof parse>;
type Expr = Parsed['expr'];

/** In UTF-16 units: of an operator, or of the name of a field or function. Undefined of what the parser adds. */
export function offsetOfExpr(source: string, { sourceInfo }: Parsed, { id, exprKind }: Expr): number | undefined {
  const isMacro = exprKind.case === 'selectExpr' && exprKind.value.testOnly;
  // `has(x.y)` stands where its name does: the field is where it was before the macro was written out.
  const macro = isMacro ? sourceInfo?.macroCalls[id.toString()]?.exprKind : undefined;
  const given = macro?.case === 'callExpr' ? macro.value.args[0] : undefined;
  const offset = sourceInfo?.positions[(given?.id ?? id).toString()];
  if (offset === undefined) return undefined;
  const before = exprKind.case === 'constExpr' ? /\s*/y : /\s*\.?\s*/y;
  before.lastIndex = offset;
  return offset + (before.exec(source)?.[0].length ?? 0);
}
