// The functions that expressions have: what is said of one that is not among them.
import { quote } from '../check-fields.ts';
import { nearestName } from '../nearest-name.ts';
import { FUNCTION_NAMES } from './functions.ts';
import { LOOPS } from './nodes.ts';

/** What other systems ask in conditions, and what does it here. */
const OUTCOME_FUNCTIONS = ['success', 'failure', 'always', 'cancelled'];

const KNOWN = [...FUNCTION_NAMES, ...LOOPS, 'has'];

/** Whether one of the loops is meant. */
export function isNearLoop(id: string): boolean {
  const near = nearestName(id, KNOWN);
  return LOOPS.some((loop) => loop === near);
}

export function describeUnknownFunction(id: string): string {
  if (OUTCOME_FUNCTIONS.includes(id)) {
    return `there is no function ${quote(id)}; how needs have to end is said by the job's \`when\`: success, failure, always, finally`;
  }
  if (id === 'has') return 'has takes a field, such as has(params.name)';
  if (LOOPS.some((loop) => loop === id) || id === 'existsOne')
    return `${id} takes a name and an expression: x.${id}(item, …)`;
  const near = nearestName(id, KNOWN);
  return `there is no function ${quote(id)}${near === undefined ? '' : `; did you mean ${near}?`}`;
}
