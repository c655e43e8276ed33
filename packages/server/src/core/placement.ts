// Which instances may take a job, and which of them should: by their labels and their pools of slots.
import type { DriverSelector, JobDefinition, LabelRule } from './definition.ts';
import type { Labels } from './views.ts';

/** What a job asks of an instance. Undefined: nothing, any instance may take it. */
export interface Placement {
  readonly selector?: DriverSelector;
  readonly pool?: string;
}

/** What an instance publishes. */
export interface InstanceOffer {
  readonly labels: Labels;
  /** Slots by the name of their pool. */
  readonly pools: Readonly<Record<string, number>>;
}

export function placementOf({ selector, pool }: JobDefinition): Placement | undefined {
  if (selector === undefined && pool === undefined) return undefined;
  return { ...(selector !== undefined && { selector }), ...(pool !== undefined && { pool }) };
}

/** Whether the instance may take such jobs at all, now or when it has room. */
export function mayTake({ labels, pools }: InstanceOffer, placement: Placement | undefined): boolean {
  if (placement === undefined) return true;
  const { selector, pool } = placement;
  if (pool !== undefined && (pools[pool] ?? 0) === 0) return false;
  return selector === undefined || selector.required.every((rule) => holds(rule, labels));
}

/** How many of the preferred rules hold. */
export function preference({ labels }: InstanceOffer, placement: Placement | undefined): number {
  return placement?.selector?.preferred.filter((rule) => holds(rule, labels)).length ?? 0;
}

export function holds({ key, operator, values }: LabelRule, labels: Labels): boolean {
  const label = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case 'EQUALS':
    case 'IN':
      return label !== undefined && values.includes(label);
    case 'NOT_IN':
      return label === undefined || !values.includes(label);
    case 'EXISTS':
      return label !== undefined;
    case 'NOT_EXISTS':
      return label === undefined;
    case 'GREATER_THAN':
      return label !== undefined && isDecimal(label) && Number(label) > Number(values[0]);
    case 'LESS_THAN':
      return label !== undefined && isDecimal(label) && Number(label) < Number(values[0]);
  }
}

export function isDecimal(text: string): boolean {
  return /^[+-]?\d{1,15}(\.\d{1,15})?$/.test(text);
}
