// Stages, which are another way to write needs: each job of a stage needs every job of the nearest stage before it that has any.
import { addViolation, checkCount, checkName, type Found, JOB_NAME, quote } from './check-fields.ts';
import { addTooManyNeeds } from './check-graph.ts';
import type { JobDefinition } from './definition.ts';
import { LIMITS } from './limits.ts';
import { nearestName } from './nearest-name.ts';

/** Looking for a misspelt name costs time for each stage. */
const MAX_SUGGESTIONS = 10;

interface StagedJob {
  readonly name: string;
  readonly stage?: string | undefined;
  readonly when?: string | undefined;
}

/**
 * Adds what is wrong with the stages to `found`, with paths under `field`, that of the definition.
 * @returns Whether there are few enough to be written out as needs.
 */
export function checkStages(
  found: Found,
  field: string,
  stages: readonly string[],
  jobs: readonly StagedJob[],
): boolean {
  checkCount(found, `${field}.stages`, stages.length, LIMITS.stages);
  // What follows takes time for each of them.
  if (stages.length > LIMITS.stages) return false;
  for (const [index, stage] of stages.entries()) {
    checkName(found, `${field}.stages[${index}]`, stage, JOB_NAME);
    if (stages.indexOf(stage) < index) addViolation(found, `${field}.stages[${index}]`, `names ${quote(stage)} again`);
  }
  let suggestions = 0;
  for (const [index, { stage, when }] of jobs.entries()) {
    const stageField = `${field}.jobs[${index}].stage`;
    if (stage === undefined) continue;
    if (when === 'FINALLY') addViolation(found, stageField, 'must not be set: a FINALLY job comes after every stage');
    if (stages.includes(stage)) continue;
    const near = suggestions++ < MAX_SUGGESTIONS ? nearestName(stage, stages) : undefined;
    const hint = near === undefined ? '' : `; did you mean ${quote(near)}?`;
    addViolation(found, stageField, `there is no stage ${quote(stage)} among the definition's stages${hint}`);
  }
  for (const stage of stages) {
    const size = jobs.filter((job) => job.stage === stage).length;
    if (size <= LIMITS.needsPerJob || stage === stages.at(-1)) continue;
    const description = `stage ${quote(stage)} has ${size} jobs; at most ${LIMITS.needsPerJob} may come before another stage: put a job between`;
    addViolation(found, `${field}.stages[${stages.indexOf(stage)}]`, description);
  }
  return !addTooManyNeeds(found, `${field}.stages`, countNeeds(stages, jobs));
}

/** How many needs the stages stand for. */
function countNeeds(stages: readonly string[], jobs: readonly StagedJob[]): number {
  const sizes = stages.map((stage) => jobs.filter((job) => job.stage === stage).length).filter((size) => size > 0);
  return sizes.reduce((sum, size, index) => sum + size * (sizes[index - 1] ?? 0), 0);
}

/** The jobs with the needs that their stages stand for. */
export function needsOfStages(stages: readonly string[], jobs: readonly JobDefinition[]): readonly JobDefinition[] {
  if (stages.length === 0) return jobs;
  const names = new Map(stages.map((stage): [string, string[]] => [stage, []]));
  for (const { name, stage } of jobs) if (stage !== undefined) names.get(stage)?.push(name);
  const before = new Map<string, readonly string[]>();
  let last: readonly string[] = [];
  for (const [stage, own] of names) {
    before.set(stage, last);
    if (own.length > 0) last = own;
  }
  return jobs.map((job) => {
    const needed = job.stage === undefined ? [] : (before.get(job.stage) ?? []);
    const written = new Set(job.needs);
    const more = needed.filter((name) => !written.has(name));
    return more.length === 0 ? job : { ...job, needs: [...job.needs, ...more] };
  });
}
