// How turns are shared between projects, and between the pipelines of a project.
import type { WeightOf } from './fair-order.ts';

/**
 * Weights of projects, by name, and of pipelines, by `project/pipeline`; `project/` stands for inline definitions. Whole numbers from 1 to
 * 1,000. Whoever is not named has 1: a weight of 3 gets three turns for one of theirs.
 */
export type QueueShares = Readonly<Record<string, number>>;

const MAX_WEIGHT = 1_000;
const NAME = /^[A-Za-z0-9_.-]+(\/([a-z0-9][a-z0-9_-]*)?)?$/;

/** @throws RangeError */
export function assertQueueShares(shares: QueueShares): void {
  for (const [name, weight] of Object.entries(shares)) {
    if (!NAME.test(name)) {
      throw new RangeError(
        `queueShares has the name ${JSON.stringify(name)}: give \`project\` or \`project/pipeline\``,
      );
    }
    if (!Number.isInteger(weight) || weight < 1 || weight > MAX_WEIGHT) {
      throw new RangeError(`queueShares of ${name} is ${weight}: give a whole number from 1 to ${MAX_WEIGHT}`);
    }
  }
}

export function weightsOf(shares: QueueShares): WeightOf {
  const weights = new Map(Object.entries(shares));
  return (project, pipeline) => weights.get(pipeline === undefined ? project : `${project}/${pipeline}`) ?? 1;
}
