// The jobs and fields of variables that are known before a run: one that is not among them is a slip, found when it is compiled.
import { type parse } from '@bufbuild/cel';
import { quote } from '../check-fields.ts';
import { nearestName } from '../nearest-name.ts';
import type { Scope } from './nodes.ts';

type Expr = ReturnType<typeof parse>['expr'];

/** Fields that are listed where none is near. */
const LISTED = 10;
/** In place of one that is worked out: the name of nothing. */
const UNKNOWN_NAME = '';

/** Why there is no such field in what it is taken of; undefined where there is, or where nobody can know. */
export function describeUnknownField(scope: Scope, operand: Expr | undefined, field: string): string | undefined {
  const { what, known } = fieldsOf(scope, operand) ?? {};
  if (known === undefined || known.includes(field)) return undefined;
  const near = nearestName(field, known);
  const hint = near === undefined ? `; known are ${listed(known)}` : `; did you mean ${quote(near)}?`;
  return `${what} ${quote(field)}${hint}`;
}

/** @param isHinted Whether to look for the job that was meant. */
export function describeUnknownNeed(scope: Scope, name: string, isHinted: boolean): string {
  const near = isHinted ? nearestNeed(scope, name) : undefined;
  const hint = near === undefined ? '' : `; did you mean ${needPath(near)}?`;
  return `there is no job ${quote(name)} among the needs${hint}`;
}

/** One that goes on after a `-`, which reads as a difference, comes first. */
function nearestNeed({ needs }: Scope, name: string): string | undefined {
  return needs.find((need) => need.startsWith(`${name}-`)) ?? nearestName(name, needs);
}

function needPath(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? `needs.${name}` : `needs[${quote(name)}]`;
}

/** What can be read of a variable, of a job of needs, and of the outputs of one. */
function fieldsOf(
  { roots, fields, outputs }: Scope,
  operand: Expr | undefined,
): { readonly what: string; readonly known: readonly string[] | undefined } | undefined {
  const path = pathOf(operand);
  const root = roots.find((known) => known === path?.[0]);
  if (path === undefined || root === undefined) return undefined;
  const [, job = '', part] = path;
  if (root !== 'needs') return path.length === 1 ? { what: `${root} has no field`, known: fields?.[root] } : undefined;
  if (path.length === 2) return { what: 'a job of needs has no field', known: fields?.needs };
  if (path.length !== 3 || part !== 'outputs') return undefined;
  return { what: `job ${quote(job)} has no output`, known: outputs?.get(job) };
}

/** The variable and the names by which a value is read; undefined where a name is not written out. */
function pathOf(expr: Expr | undefined): readonly string[] | undefined {
  const kind = expr?.exprKind;
  if (kind?.case === 'identExpr') return [kind.value.name];
  if (kind?.case === 'selectExpr' && !kind.value.testOnly) return joined(pathOf(kind.value.operand), kind.value.field);
  if (kind?.case !== 'callExpr' || kind.value.function !== '_[_]') return undefined;
  const [container, at] = kind.value.args;
  const constant = at?.exprKind.case === 'constExpr' ? at.exprKind.value.constantKind : undefined;
  // Of which job a field is does not matter.
  return joined(pathOf(container), constant?.case === 'stringValue' ? constant.value : UNKNOWN_NAME);
}

function joined(path: readonly string[] | undefined, name: string): readonly string[] | undefined {
  return path && [...path, name];
}

function listed(names: readonly string[]): string {
  if (names.length === 0) return 'none';
  return names.length <= LISTED ? names.join(', ') : `${names.slice(0, LISTED).join(', ')}, …`;
}
