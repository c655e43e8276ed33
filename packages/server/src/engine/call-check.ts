// Whether the calls of a definition can be made, as far as that is known before a run: against the pipelines that are stored now. What is
// not there may be applied later, in any order, so it makes a warning; what is there and does not fit is refused.
import { addViolation, type Found, PIPELINE_NAME, quote } from '../core/check-fields.ts';
import { showCycle } from '../core/check-graph.ts';
import type { Definition, JobDefinition, PipelineCall } from '../core/definition.ts';
import { mentionsTemplate } from '../core/expressions/template.ts';
import { compileSchema } from '../core/json-schema.ts';
import { nearestName } from '../core/nearest-name.ts';
import type { FieldViolation, Warning } from '../core/refusal.ts';
import { sureCalls } from '../core/sure-calls.ts';
import { type CalledPipeline, type CalledRef, findCalled, pipelineNamesLike } from '../store/called-pipelines.ts';
import { findPipeline } from '../store/pipelines.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import type { Tx } from '../store/sql.ts';
import { checkBounded, type CheckTime, createCheckTime, MAX_CHECKS_MS } from './bounded-check.ts';
import { createTurns, type Turns } from './pace.ts';

/** Different pipelines that are looked for, and those that a chain of calls is followed through. */
const MAX_CALLED = 100;
/** Names among which the one that was meant is looked for. */
export const MAX_NAMES = 1_000;
/** Looking for it costs time for each name. */
const MAX_SUGGESTIONS = 10;

export interface CallFindings {
  readonly violations: readonly FieldViolation[];
  /** What could not be checked, for people. */
  readonly warnings: readonly Warning[];
}

/** What calls are checked of: `name` is that of the pipeline that it is to be; undefined: it is none. */
export interface CallingDefinition extends Pick<Definition, 'jobs' | 'paramsSchema'> {
  readonly name?: string;
}

/** Checks the call of every job; `field` is the path, in the request, of what holds them, or empty. */
export type CallCheck = (project: string, definition: CallingDefinition, field: string) => Promise<CallFindings>;

/** A job and its call. */
interface Calling {
  readonly index: number;
  readonly job: JobDefinition;
  readonly call: PipelineCall;
}

export function createCallCheck(pool: Pool): CallCheck {
  return async (project, definition, field) => {
    // A definition that something else is wrong with is checked as well; no pipeline has a name that is none.
    const calling = definition.jobs.flatMap((job, index): Calling[] => {
      const { call } = job;
      const isRead = call !== undefined && PIPELINE_NAME.pattern.test(call.pipeline) && (call.revision ?? 1) >= 1;
      return isRead ? [{ index, job, call }] : [];
    });
    if (calling.length === 0) return { violations: [], warnings: [] };
    const byPipeline = Map.groupBy(calling, ({ call }) => refKey(call));
    const looked = [...byPipeline.values()].slice(0, MAX_CALLED);
    const path = field === '' ? 'jobs' : `${field}.jobs`;
    const violations: Found = [];
    const warnings: Warning[] = [];
    const { called, names } = await withConnection(pool, async (tx) => {
      const found = await readCalled(tx, project, looked.map(refOf), definition);
      const cycle = await findCycle(tx, project, definition, callsNothing(looked, found));
      if (cycle !== undefined) addViolation(violations, `${path}[${cycle.job}].call.pipeline`, cycleText(cycle.names));
      const unknown = looked.flatMap((calls, i) => (found[i] === undefined ? [refOf(calls).name] : []));
      const near = unknown.length === 0 ? [] : await pipelineNamesLike(tx, project, unknown, MAX_NAMES);
      return { called: found, names: near };
    });
    const work = { turns: createTurns(), time: createCheckTime() };
    for (const [i, calls] of looked.entries()) {
      const pipeline = called[i];
      if (pipeline === undefined) warnings.push(missing(path, calls, warnings.length < MAX_SUGGESTIONS ? names : []));
      else await checkCalls(violations, path, calls, pipeline, work);
      await work.turns();
    }
    const left = byPipeline.size - looked.length;
    if (left > 0) {
      const message = `only the first ${MAX_CALLED} pipelines that it calls were looked at, not ${left} others`;
      warnings.push({ field: path, message });
    }
    if (work.time.isOver()) {
      const message = `not all params of calls were checked: the first of them took longer than ${MAX_CHECKS_MS / 1_000} s`;
      warnings.push({ field: path, message });
    }
    return { violations, warnings };
  };
}

function refKey({ pipeline, revision }: PipelineCall): string {
  return `${pipeline}@${revision ?? ''}`;
}

function refOf([first]: readonly Calling[]): CalledRef {
  if (first === undefined) throw new Error('a pipeline that nobody calls');
  return { name: first.call.pipeline, revision: first.call.revision };
}

/** Its newest revision is about to be this definition. */
async function readCalled(
  tx: Tx,
  project: string,
  refs: readonly CalledRef[],
  { name, paramsSchema }: CallingDefinition,
): Promise<readonly (CalledPipeline | undefined)[]> {
  const called = await findCalled(tx, project, refs);
  return refs.map((ref, i) => {
    if (ref.name !== name || ref.revision !== undefined) return called[i];
    return { newestRevision: (called[i]?.newestRevision ?? 0) + 1, hasRevision: true, paramsSchema, makesCalls: true };
  });
}

async function checkCalls(
  found: Found,
  path: string,
  calls: readonly Calling[],
  pipeline: CalledPipeline,
  { turns, time }: { readonly turns: Turns; readonly time: CheckTime },
): Promise<void> {
  const { name, revision } = refOf(calls);
  const { newestRevision, hasRevision, paramsSchema } = pipeline;
  if (!hasRevision) {
    const description = `pipeline ${name} has no revision ${revision}; its newest is ${newestRevision}`;
    for (const { index } of calls) addViolation(found, `${path}[${index}].call.revision`, description);
    return;
  }
  if (paramsSchema === undefined) return;
  const schema = compileSchema([], 'params_schema', paramsSchema);
  if (schema === undefined) return;
  for (const { index, call } of calls) {
    if (time.isOver()) return;
    const { params } = call;
    const takes = mentionsTemplate(params) ? schema.ofKnown : schema;
    time.take(() => checkBounded(takes, found, `${path}[${index}].call.params`, params));
    await turns();
  }
}

function missing(path: string, calls: readonly Calling[], names: readonly string[]): Warning {
  const { name } = refOf(calls);
  const [first, ...more] = calls;
  const jobs = more.length === 0 ? `job ${first?.job.name}` : `job ${first?.job.name} and ${more.length} more`;
  const near = nearestName(name, names);
  const hint = near === undefined ? '' : `; did you mean ${quote(near)}?`;
  const message = `pipeline ${name} does not exist: the call of ${jobs} is not checked, and fails until it is applied${hint}`;
  return { field: `${path}[${first?.index}].call.pipeline`, message };
}

function cycleText(names: readonly string[]): string {
  return `closes a cycle of calls: ${showCycle(names)}; let an if end it, or each run makes another until one is too deep`;
}

/** Of pipelines that were found, those that end a chain of calls. */
function callsNothing(
  looked: readonly (readonly Calling[])[],
  called: readonly (CalledPipeline | undefined)[],
): ReadonlySet<string> {
  return new Set(
    looked.flatMap(([first], i) => (first === undefined || called[i]?.makesCalls === true ? [] : [refKey(first.call)])),
  );
}

/** Follows the calls that every run makes until one comes back to the pipeline. @param ends Pipelines that need not be read. */
async function findCycle(
  tx: Tx,
  project: string,
  definition: CallingDefinition,
  ends: ReadonlySet<string>,
): Promise<{ readonly job: number; readonly names: readonly string[] } | undefined> {
  const { name } = definition;
  if (name === undefined) return undefined;
  const seen = new Set(ends);
  const way = sureCalls(definition).map(({ job, call }) => ({ job, call, names: [name] }));
  // What is added on the way is visited, too.
  for (const { job, call, names } of way) {
    const { pipeline, revision } = call;
    const through = [...names, pipeline];
    if (pipeline === name && revision === undefined) return { job, names: through };
    if (seen.has(refKey(call)) || seen.size >= ends.size + MAX_CALLED) continue;
    seen.add(refKey(call));
    const stored = await findPipeline(tx, project, pipeline, revision);
    for (const next of sureCalls(stored?.found?.definition ?? { jobs: [] })) {
      way.push({ job, call: next.call, names: through });
    }
  }
  return undefined;
}
