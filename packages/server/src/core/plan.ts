// The graph of a definition, by index: compiled once for each definition and shared by every run of it. A run that adds jobs has the
// plan of its grown definition; the indexes of the jobs before stay as they are.
import { hasOpenBounds, numberOf } from './bounds.ts';
import type { JobExpressions } from './compile-job.ts';
import type { AddedCells, AddedJobs, Addition, Definition, JobDefinition } from './definition.ts';
import { BOUND_VERSION, LANGUAGE_VERSION } from './event-versions.ts';
import { mentionsTemplate, type Template } from './expressions/template.ts';
import type { JsonObject } from './json.ts';
import type { AppendedView } from './views.ts';

export interface PlannedJob {
  readonly index: number;
  readonly name: string;
  /** Of a cell: that of the job that its matrix is of. */
  readonly definition: JobDefinition;
  /** Whether nothing of it is left to be worked out in a run: no condition, no expression in its spec, no group, no rate limit. */
  readonly isPlain: boolean;
  /** Jobs that must have finished before. */
  readonly needs: readonly number[];
  /** Jobs that need this one; of a cell: the job that its matrix is of. */
  readonly dependants: readonly number[];
  /** Set on a cell of a matrix. */
  readonly cell?: { readonly of: number; readonly key: string; readonly values: JsonObject };
  /** Set on the job of a matrix once its cells are there: these, in order. */
  readonly cells?: readonly number[];
  /** Set beside these when not all of them may be open at the same time: how many may. */
  readonly maxParallel?: number;
}

export interface Plan {
  readonly definition: Definition;
  readonly jobs: readonly PlannedJob[];
  /** What was compiled of its jobs so far: a cache, which grown plans share. */
  readonly compiled: WeakMap<JobDefinition, JobExpressions>;
  /** What was compiled of its `env`, in the same way; undefined: it has no expressions. */
  readonly compiledEnv: { env?: Template | undefined };
  /** Whether all that can be is compiled. */
  readonly ahead: { isCompiled: boolean };
}

/** Compiles a checked definition. A need that does not exist is a broken invariant and throws. */
export function compilePlan(definition: Definition): Plan {
  const jobs = grownJobs(compileJobs(definition), definition.added ?? []);
  return { definition, jobs, compiled: new WeakMap(), compiledEnv: {}, ahead: { isCompiled: false } };
}

/** The plan of a run that has made the cells of a matrix, or one of whose jobs has appended others. */
export function growPlan(plan: Plan, addition: Addition): Plan {
  const { definition, compiled, compiledEnv } = plan;
  const grown = { ...definition, added: [...(definition.added ?? []), addition] };
  return {
    definition: grown,
    jobs: grownJobs(plan.jobs, [addition]),
    compiled,
    compiledEnv,
    ahead: { isCompiled: false },
  };
}

/** Jobs that grow in place: to copy them for each addition would cost time for all of them each time. */
interface Growing {
  readonly jobs: PlannedJob[];
  /** By name, and which are FINALLY: of the jobs that were looked at, the first ones. */
  readonly indexes: Map<string, number>;
  readonly last: number[];
  /** The lists that are of these jobs alone, and may be added to. */
  readonly own: Map<number, { readonly needs: number[]; readonly dependants: number[] }>;
}

function grownJobs(jobs: readonly PlannedJob[], added: readonly Addition[]): readonly PlannedJob[] {
  const growing: Growing = { jobs: [...jobs], indexes: new Map(), last: [], own: new Map() };
  for (const addition of added) {
    if ('cells' in addition) addCells(growing, addition);
    else appendJobs(growing, addition);
  }
  return growing.jobs;
}

function addCells(growing: Growing, addition: AddedCells): void {
  const { jobs } = growing;
  const group = plannedJob(growing, addition.job);
  const first = jobs.length;
  const maxParallel = addition.maxParallel ?? numberOf(group.definition.matrix?.maxParallel);
  const cells = addition.cells.map((_, position) => first + position);
  jobs[group.index] = { ...group, cells, ...(maxParallel !== undefined && { maxParallel }) };
  // Those of the group may grow.
  const needs = [...group.needs];
  for (const [position, { key, values }] of addition.cells.entries()) {
    jobs.push({
      index: first + position,
      name: cellName(group.name, key),
      definition: group.definition,
      isPlain: group.isPlain,
      needs,
      dependants: [group.index],
      cell: { of: group.index, key, values },
    });
  }
}

export function cellName(matrix: string, key: string): string {
  return `${matrix}[${key}]`;
}

/** What is appended comes before the FINALLY jobs of the run, as every other job does. */
function appendJobs(growing: Growing, { jobs: definitions }: AddedJobs): void {
  const { jobs, indexes, last, own } = growing;
  lookAtNew(growing);
  const first = jobs.length;
  const appended = definitions.map((definition, position): PlannedJob => {
    const lists = { needs: [], dependants: [...last] };
    own.set(first + position, lists);
    return { index: first + position, name: definition.name, definition, isPlain: isPlain(definition), ...lists };
  });
  for (const job of appended) jobs.push(job);
  lookAtNew(growing);
  for (const { index, name, definition } of appended) {
    const { needs } = ownLists(growing, index);
    for (const need of definition.needs) {
      const needed = indexOf(indexes, name, need);
      needs.push(needed);
      ownLists(growing, needed).dependants.push(index);
    }
  }
  for (const final of last) {
    const { needs } = ownLists(growing, final);
    for (const { index } of appended) needs.push(index);
  }
}

function lookAtNew({ jobs, indexes, last }: Growing): void {
  for (const { index, name, definition } of jobs.slice(indexes.size)) {
    indexes.set(name, index);
    if (definition.when === 'FINALLY') last.push(index);
  }
}

function ownLists({ jobs, own }: Growing, index: number): { readonly needs: number[]; readonly dependants: number[] } {
  const known = own.get(index);
  if (known !== undefined) return known;
  const job = plannedJob({ jobs }, index);
  const lists = { needs: [...job.needs], dependants: [...job.dependants] };
  own.set(index, lists);
  jobs[index] = { ...job, ...lists };
  return lists;
}

/** A plan without the additions that it did not have when it had so many jobs. */
export function planWith(plan: Plan, jobs: number): Plan {
  if (plan.jobs.length === jobs) return plan;
  const { added = [], ...base } = plan.definition;
  const kept: Addition[] = [];
  let total = base.jobs.length;
  for (const addition of added) {
    if (total >= jobs) break;
    kept.push(addition);
    total += ('cells' in addition ? addition.cells : addition.jobs).length;
  }
  if (total !== jobs) throw new Error(`the plan never had ${jobs} jobs`);
  return compilePlan(kept.length === 0 ? base : { ...base, added: kept });
}

/** What jobs of a plan's run have appended, in order. */
export function appendedTo(plan: Plan): readonly AppendedView[] {
  const { added = [] } = plan.definition;
  return added.flatMap((addition) => {
    if ('cells' in addition) return [];
    const { by, jobs } = addition;
    return [{ job: by, name: plannedJob(plan, by).name, jobs }];
  });
}

/** One job of a plan; a wrong index is a broken invariant and throws. */
export function plannedJob({ jobs }: Pick<Plan, 'jobs'>, index: number): PlannedJob {
  const job = jobs[index];
  if (job === undefined) throw new Error(`the plan has no job ${index}`);
  return job;
}

/** The version of events that a replica has to know to run a definition as it says. */
export function versionNeeded(definition: Definition): number {
  if (hasOpenBounds(definition)) return BOUND_VERSION;
  return usesLanguage(definition) ? LANGUAGE_VERSION : 1;
}

/** Whether builds of before LANGUAGE_VERSION would run a definition otherwise than it says. */
function usesLanguage({ jobs, failFast, added }: Definition): boolean {
  return (
    failFast === true ||
    added !== undefined ||
    jobs.some((job) => {
      const isOld = job.when === 'SUCCESS' || job.when === 'ALWAYS';
      const isPlaced = job.selector !== undefined || job.pool !== undefined;
      const isDriverJob = job.matrix === undefined && job.gate === undefined && job.call === undefined;
      return !isOld || !isDriverJob || isPlaced || !isPlain(job) || job.outputsSchema !== undefined;
    })
  );
}

/** Whether a definition leaves nothing to a run. */
function isPlain({ if: condition, spec, call, concurrency, rateLimits }: JobDefinition): boolean {
  const mayHaveToWait = concurrency !== undefined || rateLimits !== undefined;
  return condition === undefined && !mayHaveToWait && !mentionsTemplate(call?.params ?? spec);
}

/** Whether a job has one of these names; a cell has that of its matrix's job, too. */
export function isNamed({ name, definition }: PlannedJob, names: ReadonlySet<string>): boolean {
  return names.has(name) || names.has(definition.name);
}

/** The needs that a definition names: a FINALLY job has more. */
export function declaredNeeds(plan: Plan, index: number): readonly number[] {
  const { needs, definition } = plannedJob(plan, index);
  if (definition.when !== 'FINALLY') return needs;
  const names = new Set(definition.needs);
  return needs.filter((need) => names.has(plannedJob(plan, need).name));
}

/** Whether a driver runs the job itself. */
export function isDriven({ definition, cell }: PlannedJob): boolean {
  return (
    definition.gate === undefined &&
    definition.call === undefined &&
    (cell !== undefined || definition.matrix === undefined)
  );
}

/** Whether the job stands for the cells of a matrix. */
export function isGroup({ definition, cell }: PlannedJob): boolean {
  return definition.matrix !== undefined && cell === undefined;
}

/** Whether the job still runs when its run is cancelled without force. */
export function outlivesCancel({ when }: JobDefinition): boolean {
  return when === 'ALWAYS' || when === 'FINALLY';
}

function compileJobs({ jobs }: Definition): readonly PlannedJob[] {
  const indexByName = new Map(jobs.map((job, index) => [job.name, index]));
  const needs = jobs.map((job) => job.needs.map((name) => indexOf(indexByName, job.name, name)));
  addFinalNeeds(jobs, needs);
  const dependants: number[][] = jobs.map(() => []);
  for (const [index, needed] of needs.entries()) for (const need of needed) dependants[need]?.push(index);
  return jobs.map((definition, index) => ({
    index,
    name: definition.name,
    definition,
    isPlain: isPlain(definition),
    needs: needs[index] ?? [],
    dependants: dependants[index] ?? [],
  }));
}

function indexOf(indexes: ReadonlyMap<string, number>, job: string, need: string): number {
  const index = indexes.get(need);
  if (index === undefined) throw new Error(`job ${job} needs ${need}, which is not in its definition`);
  return index;
}

/**
 * A FINALLY job comes after every job that is none. Those that no other job needs would not do: one that is cancelled while it is blocked
 * has finished before its needs have.
 */
function addFinalNeeds(jobs: readonly JobDefinition[], needs: number[][]): void {
  const isFinal = (index: number): boolean => jobs[index]?.when === 'FINALLY';
  const others = [...jobs.keys()].filter((index) => !isFinal(index));
  for (const [index, own] of needs.entries()) {
    if (isFinal(index)) needs[index] = [...new Set([...own, ...others])];
  }
}
