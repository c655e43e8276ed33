// Owns what a job may be besides one piece of work for a driver: a matrix of them, a gate that people answer, a call of a pipeline.
import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import type { DurationText } from './duration.ts';
import type { ExpressionText, Limit } from './job-limits.ts';

/** Runs a job once for each cell: for each combination of its axes that is not excluded, and for what is included. */
export interface MatrixOptions {
  /** The values of each axis, or an expression of a list. Default: no axes, only what is included. */
  readonly axes?: Readonly<Record<string, readonly JsonValue[] | ExpressionText>> | undefined;
  /** Adds values to the cells that agree with it in every axis that it names; any other is a cell of its own. Default: none. */
  readonly include?: readonly JsonObject[] | ExpressionText | undefined;
  /** Combinations that have all values of one of them are left out. Default: none. */
  readonly exclude?: readonly JsonObject[] | ExpressionText | undefined;
  /** How many cells may be open for drivers at the same time. Default: all. */
  readonly maxParallel?: Limit | undefined;
  /** When true, the first cell whose failure counts stops the others. Default: false. */
  readonly failFast?: boolean | undefined;
}

/** What a gate asks, and of whom. */
export interface GateFields {
  /** What is asked, for people to read. Default: nothing. */
  readonly message?: string | undefined;
  /** Names of people and groups who may answer, in the platform's own words. Default: anybody. */
  readonly approvers?: readonly string[] | undefined;
  /** How many different people have to approve; one rejection is enough. Default: 1. */
  readonly quorum?: number | undefined;
  /** JSON Schema (2020-12) of what an approval has to fill in; the answers become the outputs. Default: nothing to fill in. */
  readonly formSchema?: JsonObject | undefined;
  /** How long it waits. Default: without a limit. */
  readonly timeout?: DurationText | undefined;
  /** What becomes of it then. Default: `fail`. */
  readonly onTimeout?: 'fail' | 'approve' | 'skip' | undefined;
}

/** Which pipeline a call runs, and with what. */
export interface CallFields {
  /** The name of a pipeline of the same project. */
  readonly pipeline: string;
  /** Default: the newest when the job is ready. */
  readonly revision?: number | undefined;
  /** Params of its run; texts may hold expressions. Default: {}. */
  readonly params?: JsonObject | undefined;
}
