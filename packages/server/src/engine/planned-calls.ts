// Calls of a planned run, held against the pipelines that are stored now: why the run of one could not be made, in the words of a call
// that is refused.
import type { Definition, PipelineCall } from '../core/definition.ts';
import type { Found } from '../core/check-fields.ts';
import type { JsonObject } from '../core/json.ts';
import { compileSchema, type Schema } from '../core/json-schema.ts';
import type { WhyNoChild } from '../core/play-run.ts';
import { invalidFields } from '../core/refusal.ts';
import { type CalledPipeline, findCalled, pipelineNamesLike } from '../store/called-pipelines.ts';
import type { Tx } from '../store/sql.ts';
import { checkBounded, createCheckTime } from './bounded-check.ts';
import { MAX_NAMES } from './call-check.ts';
import { noSuchPipeline, noSuchRevision } from './refusals.ts';

/** Different pipelines that are looked for. */
const MAX_CALLED = 100;

export interface PlannedCalls {
  /** Undefined also of what was not looked at. */
  readonly whyNoChild: WhyNoChild;
  /** Why there is nothing to call, whatever the params are. */
  readonly whyMissing: (call: PipelineCall) => string | undefined;
}

export async function readPlannedCalls(tx: Tx, project: string, { jobs }: Definition): Promise<PlannedCalls> {
  const calls = new Map(jobs.flatMap(({ call }) => (call === undefined ? [] : [[keyOf(call), call] as const])));
  const refs = [...calls.values()].slice(0, MAX_CALLED).map(({ pipeline: name, revision }) => ({ name, revision }));
  const found = refs.length === 0 ? [] : await findCalled(tx, project, refs);
  const missing = refs.flatMap(({ name }, n) => (found[n] === undefined ? [name] : []));
  const names = missing.length === 0 ? [] : await pipelineNamesLike(tx, project, missing, MAX_NAMES);
  const looked = new Map(refs.map(({ name, revision }, n) => [keyOf({ pipeline: name, revision }), found[n]]));
  const schemas = new Map<string, Schema | undefined>();
  const time = createCheckTime();

  function schemaOf(key: string, paramsSchema: JsonObject): Schema | undefined {
    if (!schemas.has(key)) schemas.set(key, compileSchema([], 'params_schema', paramsSchema));
    return schemas.get(key);
  }

  function whyMissing(call: PipelineCall): string | undefined {
    const key = keyOf(call);
    return looked.has(key) ? whyNone(call, looked.get(key), names) : undefined;
  }

  return {
    whyMissing,
    whyNoChild(call, params) {
      const why = whyMissing(call);
      const paramsSchema = looked.get(keyOf(call))?.paramsSchema;
      if (why !== undefined || paramsSchema === undefined || time.isOver()) return why;
      return time.take(() => {
        const schema = schemaOf(keyOf(call), paramsSchema);
        const wrong: Found = [];
        if (schema !== undefined) checkBounded(schema, wrong, 'run.params', params);
        return wrong.length === 0 ? undefined : invalidFields(wrong).message;
      });
    },
  };
}

function keyOf({ pipeline, revision }: { readonly pipeline: string; readonly revision?: number | undefined }): string {
  return `${pipeline}@${revision ?? ''}`;
}

function whyNone(
  { pipeline, revision }: PipelineCall,
  found: CalledPipeline | undefined,
  names: readonly string[],
): string | undefined {
  if (found === undefined) return noSuchPipeline(pipeline, names).message;
  return found.hasRevision ? undefined : noSuchRevision(pipeline, revision ?? 0, found.newestRevision).message;
}
