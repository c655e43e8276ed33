// Owns how demand is shown: as a table, and as a line when it changes.
import { type Demand, LabelOperator, type LabelRule } from '@conveyor/client';
import { age, table } from './text.ts';

export function demandTable(demands: readonly Demand[]): string {
  return table(
    ['DRIVER', 'QUEUED', 'PAUSED', 'OLDEST', 'INSTANCES', 'FREE', 'HELD', 'ASKS FOR'],
    demands.map((demand) => [
      demand.driver,
      countText(demand),
      String(demand.paused),
      age(demand.oldestQueueTime),
      String(demand.instances),
      `${demand.freeSlots}/${demand.slots}`,
      String(demand.held),
      asksText(demand),
    ]),
  );
}

/** How one is now, such as `shell os=linux: 3 queued for 4.2s; 1 instance, 0 of 2 slots free, 2 held`. */
export function demandText(demand: Demand): string {
  const { driver, paused, instances, slots, freeSlots, held, oldestQueueTime } = demand;
  const name = `${driver} ${asksText(demand)}`.trimEnd();
  const since = oldestQueueTime === undefined ? '' : ` for ${age(oldestQueueTime)}`;
  const queued = `${countText(demand)} queued${since}${paused === 0 ? '' : `, ${paused} paused`}`;
  const supply = `${instances} ${instances === 1 ? 'instance' : 'instances'}, ${freeSlots} of ${slots} slots free, ${held} held`;
  return `${name}: ${queued}; ${supply}`;
}

function countText({ queued, moreQueued }: Demand): string {
  return moreQueued ? `${queued} or more` : String(queued);
}

function asksText({ required, pool }: Demand): string {
  return [...required.map(ruleText), ...(pool === '' ? [] : [`pool ${pool}`])].join(', ');
}

function ruleText({ key, operator, values }: LabelRule): string {
  const [value = ''] = values;
  const list = `(${values.join(', ')})`;
  switch (operator) {
    case LabelOperator.UNSPECIFIED:
    case LabelOperator.EQUALS:
      return `${key}=${value}`;
    case LabelOperator.IN:
      return `${key} in ${list}`;
    case LabelOperator.NOT_IN:
      return `${key} not in ${list}`;
    case LabelOperator.EXISTS:
      return `has ${key}`;
    case LabelOperator.NOT_EXISTS:
      return `has no ${key}`;
    case LabelOperator.GREATER_THAN:
      return `${key}>${value}`;
    case LabelOperator.LESS_THAN:
      return `${key}<${value}`;
  }
  // Of a newer server: enums of the contract are open.
  return `${key} ${String(operator)} ${list}`;
}
