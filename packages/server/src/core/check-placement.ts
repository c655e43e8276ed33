// What is wrong with what a job says of who may take it, and when.
import {
  addViolation,
  checkBounded,
  checkCount,
  checkName,
  checkText,
  type Found,
  LABEL_KEY,
  POOL_NAME,
  quote,
} from './check-fields.ts';
import type { DriverSelector, JobDefinition, LabelOperator, LabelRule } from './definition.ts';
import { LIMITS } from './limits.ts';
import { isDecimal } from './placement.ts';

export interface SelectorInput {
  readonly required: readonly LabelRuleInput[];
  readonly preferred: readonly LabelRuleInput[];
}

export interface LabelRuleInput {
  readonly key: string;
  readonly operator?: string | undefined;
  readonly values: readonly string[];
}

export interface PlacementInput {
  readonly selector?: SelectorInput | undefined;
  readonly priority?: number | undefined;
  readonly pool?: string | undefined;
  readonly stickyKey?: string | undefined;
}

const OPERATORS: readonly LabelOperator[] = [
  'EQUALS',
  'IN',
  'NOT_IN',
  'EXISTS',
  'NOT_EXISTS',
  'GREATER_THAN',
  'LESS_THAN',
];

/** Adds what is wrong to `found`. What has its default is left out. */
export function checkPlacement(
  found: Found,
  field: string,
  { selector, priority = 0, pool = '', stickyKey = '' }: PlacementInput,
): Pick<JobDefinition, 'selector' | 'priority' | 'pool' | 'stickyKey'> {
  const { maxPriority } = LIMITS;
  const bounds = { min: -maxPriority, max: maxPriority, integer: true };
  checkBounded(found, `${field}.priority`, priority, 0, bounds);
  if (pool !== '') checkName(found, `${field}.pool`, pool, POOL_NAME);
  checkText(found, `${field}.sticky_key`, stickyKey, 128);
  const checked = selector === undefined ? undefined : checkSelector(found, `${field}.selector`, selector);
  return {
    ...(checked !== undefined && { selector: checked }),
    ...(priority !== 0 && { priority }),
    ...(pool !== '' && { pool }),
    ...(stickyKey !== '' && { stickyKey }),
  };
}

/** One without a rule says nothing. */
function checkSelector(found: Found, field: string, input: SelectorInput): DriverSelector | undefined {
  const required = checkRules(found, `${field}.required`, input.required);
  const preferred = checkRules(found, `${field}.preferred`, input.preferred);
  return required.length + preferred.length === 0 ? undefined : { required, preferred };
}

function checkRules(found: Found, field: string, rules: readonly LabelRuleInput[]): LabelRule[] {
  checkCount(found, field, rules.length, LIMITS.labelRules);
  return rules.map((rule, index) => checkRule(found, `${field}[${index}]`, rule));
}

function checkRule(found: Found, field: string, { key, operator = 'EQUALS', values }: LabelRuleInput): LabelRule {
  checkName(found, `${field}.key`, key, LABEL_KEY);
  const known = OPERATORS.find((name) => name === operator);
  if (known === undefined) {
    addViolation(found, `${field}.operator`, `must be one of ${OPERATORS.join(', ')}; got ${quote(operator)}`);
  } else {
    checkValues(found, `${field}.values`, known, values);
  }
  for (const [index, value] of values.slice(0, LIMITS.labelRuleValues).entries()) {
    checkText(found, `${field}.values[${index}]`, value, 256);
  }
  return { key, operator: known ?? 'EQUALS', values };
}

function checkValues(found: Found, field: string, operator: LabelOperator, values: readonly string[]): void {
  const count = values.length;
  switch (operator) {
    case 'EQUALS':
      if (count !== 1) addViolation(found, field, `must have one value for ${operator}; has ${count}`);
      return;
    case 'GREATER_THAN':
    case 'LESS_THAN': {
      const [value] = values;
      if (count !== 1 || value === undefined) {
        addViolation(found, field, `must have one value for ${operator}; has ${count}`);
      } else if (!isDecimal(value)) {
        addViolation(found, `${field}[0]`, `must be a decimal number for ${operator}, such as 16; got ${quote(value)}`);
      }
      return;
    }
    case 'IN':
    case 'NOT_IN':
      if (count === 0) addViolation(found, field, `must have 1 to ${LIMITS.labelRuleValues} values for ${operator}`);
      checkCount(found, field, count, LIMITS.labelRuleValues);
      return;
    case 'EXISTS':
    case 'NOT_EXISTS':
      if (count > 0) addViolation(found, field, `must be empty for ${operator}; has ${count}`);
  }
}
