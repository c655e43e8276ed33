// How one definition differs from another, by structure: jobs are matched by name, and the order of jobs, needs and secrets means nothing.
// Definitions come as the contract's JSON, with its field names, so that a new field of it is compared like any other.
import { memberPath } from './check-fields.ts';
import { canonicalJson, type JsonObject, type JsonValue } from './json.ts';

/** One field that differs; undefined is a field that is not there. */
export interface FieldChange {
  readonly path: string;
  readonly oldValue: JsonValue | undefined;
  readonly newValue: JsonValue | undefined;
}

export interface DefinitionDiff {
  readonly addedJobs: readonly string[];
  readonly removedJobs: readonly string[];
  readonly changedJobs: readonly { readonly name: string; readonly changes: readonly FieldChange[] }[];
  /** Of what stands beside the jobs. */
  readonly changes: readonly FieldChange[];
  /** Of all fields, also those that are not listed. */
  readonly changeCount: number;
  readonly onlyOrderDiffers: boolean;
}

/** More than anybody reads; further changes are counted. */
export const MAX_CHANGES = 500;
/** What differs below a longer path is told as a whole: so many paths stay small. */
const MAX_PATH = 512;
const UNORDERED: ReadonlySet<string> = new Set(['needs', 'secrets']);

export function diffDefinitions(from: JsonObject, to: JsonObject): DefinitionDiff {
  const found: Found = { count: 0 };
  const { jobs: oldJobs, ...oldRest } = from;
  const { jobs: newJobs, ...newRest } = to;
  const [before, after] = [jobsByName(oldJobs), jobsByName(newJobs)];
  const changes = changesOf(found, oldRest, newRest);
  const changedJobs = [...after].flatMap(([name, job]) => {
    const old = before.get(name);
    if (old === undefined) return [];
    const countBefore = found.count;
    const ofJob = changesOf(found, unordered(old), unordered(job));
    return found.count === countBefore ? [] : [{ name, changes: ofJob }];
  });
  const addedJobs = [...after.keys()].filter((name) => !before.has(name));
  const removedJobs = [...before.keys()].filter((name) => !after.has(name));
  const isSame = found.count + addedJobs.length + removedJobs.length === 0;
  const onlyOrderDiffers = isSame && canonicalJson(from) !== canonicalJson(to);
  return { addedJobs, removedJobs, changedJobs, changes, changeCount: found.count, onlyOrderDiffers };
}

interface Found {
  count: number;
}

function jobsByName(jobs: JsonValue | undefined): ReadonlyMap<string, JsonObject> {
  if (!Array.isArray(jobs)) return new Map();
  return new Map(
    jobs.filter(isObject).map((job): [string, JsonObject] => {
      const { name } = job;
      return [typeof name === 'string' ? name : '', job];
    }),
  );
}

function unordered(job: JsonObject): JsonObject {
  const sort = (value: JsonValue) => (Array.isArray(value) ? value.toSorted(byCanonicalJson) : value);
  return Object.fromEntries(
    Object.entries(job).map(([field, value]) => [field, UNORDERED.has(field) ? sort(value) : value]),
  );
}

function byCanonicalJson(a: JsonValue, b: JsonValue): number {
  return canonicalJson(a) < canonicalJson(b) ? -1 : 1;
}

function changesOf(found: Found, before: JsonObject, after: JsonObject): FieldChange[] {
  const changes: FieldChange[] = [];
  const compare = (path: string, oldValue: JsonValue | undefined, newValue: JsonValue | undefined): void => {
    if (oldValue === newValue) return;
    if (path.length <= MAX_PATH) {
      if (isObject(oldValue) && isObject(newValue)) {
        for (const key of new Set([...Object.keys(oldValue), ...Object.keys(newValue)])) {
          compare(`${path}${stepText(path, key)}`, own(oldValue, key), own(newValue, key));
        }
        return;
      }
      if (Array.isArray(oldValue) && Array.isArray(newValue) && oldValue.length === newValue.length) {
        oldValue.forEach((item, index) => compare(`${path}[${index}]`, item, newValue[index]));
        return;
      }
    }
    if (oldValue !== undefined && newValue !== undefined && canonicalJson(oldValue) === canonicalJson(newValue)) return;
    if (found.count++ < MAX_CHANGES) changes.push({ path, oldValue, newValue });
  };
  compare('', before, after);
  return changes;
}

/** A field's value; nothing that an object only inherits. */
function own(value: JsonObject, key: string): JsonValue | undefined {
  return Object.hasOwn(value, key) ? value[key] : undefined;
}

function stepText(path: string, key: string): string {
  const step = memberPath('', key);
  return path === '' ? step.replace(/^\./, '') : step;
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
