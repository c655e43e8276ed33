// What of jobs to append is no message, as a program that no compiler has seen may give it: a value of an enum by its name, a duration as
// text, a field that there is none of. The encoder would say neither where nor what to write instead.
import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { DurationSchema } from '@bufbuild/protobuf/wkt';
import { JobDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';

/** What is wrong with jobs, each by the path of its field. */
export function misshapen(jobs: unknown): readonly string[] {
  const problems: string[] = [];
  if (!Array.isArray(jobs)) return [`jobs must be a list; got ${shown(jobs)}`];
  for (const [index, job] of jobs.entries()) checkMessage(JobDefinitionSchema, job, `jobs[${index}]`, problems);
  return problems;
}

function checkMessage(desc: DescMessage, value: unknown, path: string, problems: string[]): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    problems.push(`${path} must be an object; got ${shown(value)}`);
    return;
  }
  const fields = new Map(desc.fields.map((field) => [field.localName, field]));
  for (const [key, given] of Object.entries(value)) {
    if (given === undefined || key === '$typeName' || key === '$unknown') continue;
    const field = fields.get(key);
    if (field === undefined) problems.push(`${path}.${key} is no field; these are: ${[...fields.keys()].join(', ')}`);
    else checkField(field, given, `${path}.${key}`, problems);
  }
}

function checkField(field: DescField, value: unknown, path: string, problems: string[]): void {
  if (field.fieldKind !== 'list') return checkElement(field, value, path, problems);
  if (!Array.isArray(value)) problems.push(`${path} must be a list; got ${shown(value)}`);
  else for (const [index, item] of value.entries()) checkElement(field, item, `${path}[${index}]`, problems);
}

function checkElement(field: DescField, value: unknown, path: string, problems: string[]): void {
  if (field.enum !== undefined) {
    const { name, values } = field.enum;
    if (values.some(({ number }) => number === value)) return;
    const choices = values.filter(({ number }) => number !== 0).map(({ localName }) => `${name}.${localName}`);
    problems.push(`${path} must be ${choices.join(' or ')}; got ${shown(value)}`);
  } else if (field.message?.typeName === DurationSchema.typeName) {
    if (typeof value === 'object' && value !== null) return;
    problems.push(
      `${path} must be a Duration, as durationFromMs(60_000) of @bufbuild/protobuf/wkt; got ${shown(value)}`,
    );
  } else if (field.message !== undefined && !field.message.typeName.startsWith('google.protobuf.')) {
    checkMessage(field.message, value, path, problems);
  } else if (field.fieldKind !== 'map' && field.scalar !== undefined) {
    const wanted = wantedOf(field.scalar);
    if (typeof value !== wanted) problems.push(`${path} must be a ${wanted}; got ${shown(value)}`);
  }
}

function wantedOf(scalar: ScalarType): 'string' | 'boolean' | 'number' {
  if (scalar === ScalarType.STRING) return 'string';
  return scalar === ScalarType.BOOL ? 'boolean' : 'number';
}

function shown(value: unknown): string {
  if (typeof value === 'string') return value.length > 100 ? `'${value.slice(0, 100)}…'` : `'${value}'`;
  if (typeof value !== 'object' || value === null) return String(value);
  return Array.isArray(value) ? 'a list' : 'an object';
}
