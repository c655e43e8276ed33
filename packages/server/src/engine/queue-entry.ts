// What the queue is told of a job: whose turn it shares, who may take it, and its place.
import { createHash } from 'node:crypto';
import type { JobDefinition } from '../core/definition.ts';
import type { RunId } from '../core/ids.ts';
import { canonicalJson, type JsonValue } from '../core/json.ts';
import { placementOf } from '../core/placement.ts';
import { rankOf } from '../core/queue-rank.ts';
import type { QueueInsert } from '../store/queue-rows.ts';

/** Flows whose ids are remembered; beyond, all are worked out again. */
const MAX_REMEMBERED = 10_000;

const ids = new WeakMap<JobDefinition, Map<string, string>>();

interface QueuedRun {
  readonly runId: RunId;
  readonly project: string;
  readonly pipeline: string | undefined;
}

export function queueEntry(run: QueuedRun, job: number, definition: JobDefinition, queuedMs: number): QueueInsert {
  const { runId, project, pipeline = '' } = run;
  const { driver, priority = 0, stickyKey } = definition;
  return {
    key: { runId, job },
    project,
    driver,
    pipeline,
    flow: flowOf(definition, project, pipeline),
    placed: placementOf(definition) !== undefined,
    priority,
    stickyKey,
    rank: rankOf(queuedMs, priority),
  };
}

/** The id of a flow: the same for the same project, pipeline and placement, whoever works it out. */
function flowOf(definition: JobDefinition, project: string, pipeline: string): string {
  const key = `${project}\n${pipeline}`;
  const known = ids.get(definition) ?? new Map<string, string>();
  const id = known.get(key) ?? uuidOf(canonicalJson([project, pipeline, { ...placementOf(definition) } as JsonValue]));
  if (known.size >= MAX_REMEMBERED) known.clear();
  ids.set(definition, known.set(key, id));
  return id;
}

function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}
