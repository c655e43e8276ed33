// An expression as it is evaluated: macros are loops, chains of && and || are one node, functions are found. A tree of at most
// LIMITS.expressionNodes nodes, in which no loop is part of the body of another.
import type { CheckWork } from '../check-work.ts';
import type { CelValue } from '@bufbuild/cel';
import type { JsonValue } from '../json.ts';
import type { CelFunction } from './functions.ts';
import type { Pattern } from './pattern.ts';

/** The variables that an expression may begin with. */
export const ROOTS = ['params', 'labels', 'trigger', 'run', 'needs', 'matrix', 'env'] as const;
export type Root = (typeof ROOTS)[number];

/** The macros that go through a list, or the keys of a map. */
export const LOOPS = ['all', 'exists', 'exists_one', 'map', 'filter'] as const;
export type Loop = (typeof LOOPS)[number];

/** The values of the variables. One that is not there has no value, which is an error of the expression that reads it. */
export type Inputs = Readonly<Partial<Record<Root, JsonValue>>>;

/** What an expression may refer to. */
export interface Scope {
  readonly roots: readonly Root[];
  /** The jobs that `needs.<name>` and `needs["<name>"]` may name. */
  readonly needs: readonly string[];
  /**
   * All fields that a variable can have, where these are known; of `needs`, those of each job. Undefined for what is stored, which is
   * not checked again by what has been learned since.
   */
  readonly fields?: Readonly<Partial<Record<Root, readonly string[]>>>;
  /**
   * The type of what is read by a variable and names, wherever it is there: one of CEL, `dyn` where that is not sure, and `number` of
   * what may be an int or a double.
   */
  readonly typeAt?: (path: readonly string[]) => string;
  /** What checks may take; left out where nothing is checked any more. */
  readonly work?: CheckWork;
  /** All outputs that a needed job can have, where these are known, by its name. */
  readonly outputs?: ReadonlyMap<string, readonly string[]>;
}

/** A part of an expression whose value says why the whole has the one it has. */
export interface Part {
  /** The part as it could be written: spaces and brackets may differ from the source. */
  readonly expression: string;
  readonly node: Node;
  /** Paths that are read of it: it says only why one of these has no value. Undefined: it says something in any case. */
  readonly readBy?: readonly Node[];
}

export type Node =
  | { readonly kind: 'constant'; readonly value: CelValue }
  | { readonly kind: 'root'; readonly root: Root }
  /** What the loop around is at. */
  | { readonly kind: 'element' }
  | { readonly kind: 'select'; readonly operand: Node; readonly field: string }
  | { readonly kind: 'has'; readonly operand: Node; readonly field: string }
  | { readonly kind: 'index'; readonly operand: Node; readonly index: Node }
  /** && ends at false, || at true. */
  | { readonly kind: 'logic'; readonly endsAt: boolean; readonly operands: readonly Node[] }
  | { readonly kind: 'choice'; readonly condition: Node; readonly whenTrue: Node; readonly whenFalse: Node }
  | {
      readonly kind: 'call';
      readonly callee: CelFunction;
      readonly isMethod: boolean;
      readonly operands: readonly Node[];
    }
  | { readonly kind: 'matches'; readonly operand: Node; readonly pattern: Pattern }
  | { readonly kind: 'list'; readonly items: readonly Node[] }
  | { readonly kind: 'map'; readonly entries: readonly { readonly key: Node; readonly value: Node }[] }
  | LoopNode;

export interface LoopNode {
  readonly kind: 'loop';
  readonly loop: Loop;
  readonly range: Node;
  /** Which elements count; `map` need not have one. */
  readonly test: Node | undefined;
  /** What `map` makes of an element. */
  readonly step: Node | undefined;
}
