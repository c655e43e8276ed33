// What a job says of who may take it, and when, between the contract and core.
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type DriverSelectorSchema,
  type JobDefinition as JobDefinitionMessage,
  type JobDefinitionSchema,
  LabelOperator,
  type LabelRule as LabelRuleMessage,
} from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import type { LabelRuleInput, PlacementInput } from '../core/check-placement.ts';
import type { DriverSelector, JobDefinition, LabelRule } from '../core/definition.ts';

export function decodePlacement({ selector, priority, pool, stickyKey }: JobDefinitionMessage): PlacementInput {
  const rules = selector && {
    required: selector.required.map(decodeRule),
    preferred: selector.preferred.map(decodeRule),
  };
  return {
    selector: rules,
    priority: priority === 0 ? undefined : priority,
    pool: pool === '' ? undefined : pool,
    stickyKey: stickyKey === '' ? undefined : stickyKey,
  };
}

export function encodePlacement({
  selector,
  priority = 0,
  pool = '',
  stickyKey = '',
}: JobDefinition): Pick<MessageInitShape<typeof JobDefinitionSchema>, 'selector' | 'priority' | 'pool' | 'stickyKey'> {
  return { selector: selector && encodeSelector(selector), priority, pool, stickyKey };
}

function encodeSelector({ required, preferred }: DriverSelector): MessageInitShape<typeof DriverSelectorSchema> {
  return { required: required.map(encodeRule), preferred: preferred.map(encodeRule) };
}

function decodeRule({ key, operator, values }: LabelRuleMessage): LabelRuleInput {
  const name = operator === LabelOperator.UNSPECIFIED ? undefined : (LabelOperator[operator] ?? String(operator));
  return { key, operator: name, values };
}

/** What has its default value is left out. */
export function encodeRule({ key, operator, values }: LabelRule) {
  const number = operator === 'EQUALS' ? LabelOperator.UNSPECIFIED : LabelOperator[operator];
  return { key, operator: number, values: [...values] };
}
