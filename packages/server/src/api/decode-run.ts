// Reads what shall run, and which runs are meant.
import { type RunFilter as RunFilterMessage, type RunSpec } from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { RunState } from '@conveyor/protocol/conveyor/v1/run_pb.js';
import {
  addViolation,
  checkCount,
  checkJson,
  checkLabels,
  checkName,
  type Found,
  PIPELINE_NAME,
} from '../core/check-fields.ts';
import type { CheckWork } from '../core/check-work.ts';
import { LIMITS } from '../core/limits.ts';
import type { RunState as RunStateName } from '../core/states.ts';
import type { NewRun, RunFilter, RunSource } from '../engine/engine.ts';
import { decodeDefinition } from './definition-codec.ts';
import { decodeNumber, decodeTime, decodeTrigger } from './request-fields.ts';

const MAX_FILTER_LABELS = 16;

/** Comes in slices. @param field Where the request carries the spec. */
export function* decodeRunSpec(
  found: Found,
  field: string,
  spec: RunSpec | undefined,
  work: CheckWork,
): Generator<undefined, Omit<NewRun, 'requestId' | 'traceparent'>> {
  const { params = {}, labels = {}, trigger } = spec ?? {};
  const startMs = decodeTime(found, `${field}.start_time`, spec?.startTime);
  checkJson(found, `${field}.params`, params, LIMITS.paramsBytes);
  checkLabels(found, `${field}.labels`, labels);
  return {
    ...(yield* decodeSource(found, field, spec?.source, work)),
    params,
    labels,
    trigger: decodeTrigger(found, `${field}.trigger`, trigger),
    ...(startMs !== undefined && { startMs }),
  };
}

export function decodeRunFilter(found: Found, filter: RunFilterMessage | undefined): RunFilter {
  const { pipeline = '', states = [], labels = {} } = filter ?? {};
  if (pipeline !== '') checkName(found, 'filter.pipeline', pipeline, PIPELINE_NAME);
  checkLabels(found, 'filter.labels', labels);
  checkCount(found, 'filter.labels', Object.keys(labels).length, MAX_FILTER_LABELS);
  return {
    ...(pipeline !== '' && { pipeline }),
    states: decodeStates(found, 'filter.states', states, RUN_STATES),
    labels,
  };
}

/** Names the states of a filter, each once. */
export function decodeStates<T extends string>(
  found: Found,
  field: string,
  states: readonly number[],
  names: Readonly<Record<number, T>>,
): T[] {
  const wanted = new Set<T>();
  for (const [index, state] of states.entries()) {
    const name = names[state];
    if (name === undefined) {
      const known = Object.values(names).join(', ');
      addViolation(found, `${field}[${index}]`, `must be one of ${known}; got ${state}`);
    } else wanted.add(name);
  }
  return [...wanted].sort();
}

const RUN_STATES: Readonly<Record<number, RunStateName>> = {
  [RunState.PENDING]: 'PENDING',
  [RunState.RUNNING]: 'RUNNING',
  [RunState.CANCELLING]: 'CANCELLING',
  [RunState.SUCCEEDED]: 'SUCCEEDED',
  [RunState.FAILED]: 'FAILED',
  [RunState.CANCELLED]: 'CANCELLED',
};

function* decodeSource(
  found: Found,
  field: string,
  source: RunSpec['source'] | undefined,
  work: CheckWork,
): Generator<undefined, RunSource> {
  switch (source?.case) {
    case 'pipeline': {
      const { name } = source.value;
      checkName(found, `${field}.pipeline.name`, name, PIPELINE_NAME);
      const revision = decodeNumber(found, `${field}.pipeline.revision`, source.value.revision);
      return { pipeline: { name, ...(revision !== undefined && { revision }) } };
    }
    case 'definition':
      return { definition: yield* decodeDefinition(found, `${field}.definition`, source.value, work) };
    case undefined:
      addViolation(found, field, 'is required: what to run, by `pipeline` or by `definition`');
      return {};
  }
}
