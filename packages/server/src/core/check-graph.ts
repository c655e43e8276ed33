// What is wrong with the graph of a definition: names that are used twice, needs that do not exist, cycles, jobs that could never run.
import { addViolation, type Found, quote } from './check-fields.ts';
import type { RunCondition } from './definition.ts';
import { LIMITS } from './limits.ts';
import { nearestName } from './nearest-name.ts';
import type { Slices } from './slices.ts';

const MAX_SHOWN_CYCLE = 10;
/** Looking for a misspelt name costs time for each name of the definition. */
const MAX_SUGGESTIONS = 10;

/** A job as far as the graph goes. */
export interface GraphJob {
  readonly name: string;
  readonly needs: readonly string[];
  readonly when: RunCondition;
  readonly stage?: string | undefined;
}

/** Looking at so many jobs takes a millisecond or two, unless they have many needs. */
const SLICE_JOBS = 1_000;

/** Adds what is wrong with the graph of these jobs to `found`, with paths under `field`. */
export function* checkGraph(found: Found, field: string, jobs: readonly GraphJob[]): Slices<void> {
  const indexByName = new Map<string, number>();
  for (const [index, { name }] of jobs.entries()) {
    const first = indexByName.get(name);
    if (first === undefined) indexByName.set(name, index);
    else if (name !== '')
      addViolation(found, `${field}[${index}].name`, `${quote(name)} is also the name of jobs[${first}]`);
  }
  let suggestions = 0;
  for (const [index, { needs, when }] of jobs.entries()) {
    if (index % SLICE_JOBS === 0) yield;
    const seen = new Set<string>();
    if (when === 'FAILURE' && needs.length === 0) {
      addViolation(
        found,
        `${field}[${index}].when`,
        'must not be FAILURE for a job without needs: nothing can fail before it',
      );
    }
    for (const [position, need] of needs.entries()) {
      const needField = `${field}[${index}].needs[${position}]`;
      if (seen.has(need)) addViolation(found, needField, `names ${quote(need)} again`);
      seen.add(need);
      const needed = indexByName.get(need);
      if (needed !== undefined) {
        if (when === 'FINALLY' || jobs[needed]?.when !== 'FINALLY') continue;
        addViolation(
          found,
          needField,
          `${quote(need)} is FINALLY, and comes after all others: only jobs whose when is FINALLY, too, may need it`,
        );
        continue;
      }
      const near = suggestions++ < MAX_SUGGESTIONS ? nearestName(need, indexByName.keys()) : undefined;
      const hint = near === undefined ? '' : `; did you mean ${quote(near)}?`;
      addViolation(found, needField, `there is no job ${quote(need)}${hint}`);
    }
  }
  yield* checkCycles(found, field, jobs, indexByName);
}

/** Adds to `found` when there are more needs than a run may have, with those that FINALLY stands for. */
export function checkNeedsCount(found: Found, field: string, jobs: readonly Pick<GraphJob, 'needs' | 'when'>[]): void {
  const finals = jobs.filter(({ when }) => when === 'FINALLY').length;
  const written = jobs.reduce((sum, { needs }) => sum + needs.length, 0);
  addTooManyNeeds(found, field, written + finals * (jobs.length - finals));
}

export function addTooManyNeeds(found: Found, field: string, total: number): boolean {
  if (total <= LIMITS.needsPerRun) return false;
  const description = `there are ${total} needs, with those that stages and FINALLY stand for; at most ${LIMITS.needsPerRun} are allowed: let jobs need one that needs the others`;
  addViolation(found, field, description);
  return true;
}

/** Walks the needs depth first, without recursion: a chain may be as long as the definition. */
function* checkCycles(
  found: Found,
  field: string,
  jobs: readonly GraphJob[],
  indexByName: ReadonlyMap<string, number>,
): Slices<void> {
  const done = new Set<number>();
  for (const start of jobs.keys()) {
    if (start % SLICE_JOBS === 0) yield;
    /** The way from `start` to where the walk is, and which need of each job comes next. */
    const way = [{ job: start, next: 0 }];
    const onWay = new Map([[start, 0]]);
    for (let step = way.at(-1); step !== undefined; step = way.at(-1)) {
      const need = done.has(step.job) ? undefined : jobs[step.job]?.needs[step.next];
      if (need === undefined) {
        done.add(step.job);
        onWay.delete(step.job);
        way.pop();
        continue;
      }
      const position = step.next++;
      const needed = indexByName.get(need);
      if (needed === undefined || done.has(needed)) continue;
      const begin = onWay.get(needed);
      if (begin === undefined) {
        onWay.set(needed, way.length);
        way.push({ job: needed, next: 0 });
      } else {
        const names = way.slice(begin).map(({ job }) => jobs[job]?.name ?? '');
        addViolation(
          found,
          `${field}[${step.job}].needs[${position}]`,
          `closes a cycle: ${showCycle([...names, need])}${stagesOn(way.slice(begin).flatMap(({ job }) => jobs[job] ?? []))}`,
        );
      }
    }
  }
}

/** The stages on a cycle, when they may be what closes it: nobody has written the needs that they stand for. */
function stagesOn(cycle: readonly GraphJob[]): string {
  const staged = new Map(cycle.flatMap(({ name, stage }) => (stage === undefined ? [] : [[stage, name]])));
  if (staged.size < 2) return '';
  const shown = [...staged]
    .slice(0, MAX_SHOWN_CYCLE)
    .map(([stage, name]) => `${quote(name)} is of stage ${quote(stage)}`);
  return `; each job of a stage needs those of the stage before: ${shown.join(', ')}`;
}

/** A cycle by the names on its way, without the middle of a long one. */
export function showCycle(names: readonly string[]): string {
  if (names.length <= MAX_SHOWN_CYCLE) return names.join(' -> ');
  const half = MAX_SHOWN_CYCLE / 2;
  const left = names.length - MAX_SHOWN_CYCLE;
  return [...names.slice(0, half), `(${left} more)`, ...names.slice(-half)].join(' -> ');
}
