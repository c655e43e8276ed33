// The types of what the expressions of a job read, as far as they are sure before a run: by the schemas of params and outputs, by the axes
// that are written out, and of what is a text anyway.
import type { Definition, JobDefinition, Matrix } from './definition.ts';
import { hasTemplate } from './expressions/split-template.ts';
import { ANY, type StaticType } from './expressions/static-types.ts';
import type { JsonObject, JsonValue } from './json.ts';
import { commonType, type TypeAt, typesOf } from './schema-types.ts';

/** What the schemas of a definition say. */
export interface KnownTypes {
  readonly params: TypeAt;
  /** By job: what it has succeeded with. */
  readonly outputs: ReadonlyMap<string, TypeAt>;
}

export function knownTypes(paramsSchema: JsonObject | undefined, jobs: readonly JobDefinition[]): KnownTypes {
  return withJobs({ params: typesOf(paramsSchema), outputs: new Map() }, jobs);
}

/** With the outputs of more jobs. Those of a failure are held against no schema, and those of a matrix are by the keys of its cells. */
export function withJobs(types: KnownTypes, jobs: readonly JobDefinition[]): KnownTypes {
  const outputs = jobs.flatMap(({ name, matrix, allowFailure, outputsSchema }) => {
    const isSure = outputsSchema !== undefined && matrix === undefined && !allowFailure;
    return isSure ? [[name, typesOf(outputsSchema)] as const] : [];
  });
  return { ...types, outputs: new Map([...types.outputs, ...outputs]) };
}

/** Of what can be read where there is no job. @param path The variable first. */
export function typeInRun({ params }: KnownTypes, [root, ...path]: readonly string[]): StaticType {
  if (root === 'params') return params(path);
  if (path.length !== 1) return ANY;
  if (root === 'run') return path[0] === 'revision' ? 'int' : 'string';
  return root === 'labels' || root === 'trigger' ? 'string' : ANY;
}

/** Of what a job can read. */
export function typesForJob(types: KnownTypes, job: JobDefinition, env: Definition['env'] = {}): TypeAt {
  const matrix = job.matrix === undefined ? undefined : typesOfCells(job.matrix);
  return (path) => {
    const [root, name = '', part, ...inner] = path;
    if (root === 'needs') return part === undefined ? 'map' : typeOfNeed(types, job, name, part, inner);
    if (root === 'matrix') return path.length === 2 && matrix !== undefined ? matrix(name) : ANY;
    if (root !== 'env') return typeInRun(types, path);
    const text = path.length === 2 && Object.hasOwn(env, name) ? env[name] : undefined;
    return text === undefined || hasTemplate(text) ? ANY : 'string';
  };
}

function typeOfNeed(
  { outputs }: KnownTypes,
  { when }: JobDefinition,
  name: string,
  part: string,
  inner: readonly string[],
): StaticType {
  if (part !== 'outputs') return inner.length === 0 ? 'string' : ANY;
  if (inner.length === 0) return 'map';
  return when === 'SUCCESS' ? (outputs.get(name)?.(inner) ?? ANY) : ANY;
}

function typesOfCells({ axes, include = [] }: Matrix): (name: string) => StaticType {
  const known = new Map<string, StaticType>();
  return (name) => {
    const type = known.get(name) ?? typeInCells(axes, include, name);
    known.set(name, type);
    return type;
  };
}

function typeInCells(axes: Matrix['axes'], include: JsonValue, name: string): StaticType {
  const axis = Object.hasOwn(axes, name) ? axes[name] : [];
  if (!Array.isArray(axis) || !Array.isArray(include)) return ANY;
  const values = [...axis];
  for (const entry of include) {
    if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) return ANY;
    const value = Object.hasOwn(entry, name) ? entry[name] : undefined;
    if (value !== undefined) values.push(value);
  }
  return values.some((value) => typeof value === 'string' && hasTemplate(value)) ? ANY : commonType(values);
}
