// From what a caller asks for to a run that is checked: finds the definition, checks params and specs against it, and hands the run
// to the lane of creates. Items of one batch share what they have in common.
import type { Definition } from '../core/definition.ts';
import { DELAY_VERSION } from '../core/event-versions.ts';
import type { Trigger } from '../core/events.ts';
import type { JobKey, RunId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import type { Schema } from '../core/json-schema.ts';
import { LIMITS } from '../core/limits.ts';
import {
  type FieldViolation,
  invalidFields,
  isRefusal,
  RefusedError,
  type Refusal,
  type Warning,
} from '../core/refusal.ts';
import type { Labels } from '../core/views.ts';
import { type DefinitionDigest, digestOf } from '../store/definition-rows.ts';
import { findPipeline } from '../store/pipelines.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import { checkBounded } from './bounded-check.ts';
import type { CallCheck, CallFindings } from './call-check.ts';
import type { CreatedRun } from './created-run.ts';
import type { CheckedRun } from './begin-run.ts';
import type { Creates } from './creates.ts';
import type { NewRun, RunSource } from './engine.ts';
import { inTurns } from './pace.ts';
import { assertKnown, noSuchRevision, replicaTooOld } from './refusals.ts';
import type { Replica } from './replica.ts';
import { bodyDigest, createOnce } from './request-ids.ts';
import { createParamsSchemas } from './params-schemas.ts';
import { type SpecCheck, specMismatch } from './spec-check.ts';
import { unknownPipeline } from './unknown-pipeline.ts';

export interface RunCreation {
  /**
   * @param call The call that it is made for.
   * @throws RefusedError for a call also LIMIT_REACHED, when its tree is full, and NOT_WAITING, when it wants no run now
   */
  create(
    project: string,
    run: NewRun,
    call?: JobKey,
  ): Promise<
    CreatedRun & {
      /** What could not be checked; empty when it was created before. */ readonly warnings: readonly Warning[];
    }
  >;
  /** What would be created now, checked as if it were. @throws RefusedError */
  prepare(project: string, run: NewRun): Promise<PreparedRun>;
  /** Whether a run could be created now. Returns what could not be checked, for people. @throws RefusedError */
  check(project: string, run: NewRun): Promise<readonly string[]>;
  /** One outcome an item, in order. */
  createBatch(project: string, runs: readonly NewRun[]): Promise<readonly (RunId | Refusal)[]>;
}

/** A run that could be created. */
export interface PreparedRun {
  readonly definition: Definition;
  readonly pipeline?: { readonly name: string; readonly revision: number };
  readonly params: JsonObject;
  readonly labels: Labels;
  readonly trigger: Trigger;
  /** What could not be checked, beside calls, for people. */
  readonly warnings: readonly string[];
}

export interface RunCreationOptions {
  readonly pool: Pool;
  readonly creates: Creates;
  readonly checkSpecs: SpecCheck;
  readonly checkCalls: CallCheck;
  readonly replica: Pick<Replica, 'oldest'>;
}

/** A definition that a run may be made of. */
interface Resolved {
  readonly definition: Definition;
  readonly digest: DefinitionDigest;
  readonly pipeline?: { readonly name: string; readonly revision: number };
  readonly paramsSchema: Schema | undefined;
  /** What could not be checked, beside calls. */
  readonly warnings: readonly Warning[];
  readonly callWarnings: readonly Warning[];
}

export function createRunCreation({ pool, creates, checkSpecs, checkCalls, replica }: RunCreationOptions): RunCreation {
  const schemas = createParamsSchemas();

  async function resolve(project: string, source: RunSource): Promise<Resolved> {
    const { definition, digest, pipeline } = await find(project, source);
    assertKnown(definition, replica.oldest());
    const { violations, warnings } = await checkSpecs(definition, 'run.definition');
    if (violations.length > 0) throw new RefusedError(specMismatch(violations));
    // Those of a pipeline were checked when it was applied.
    const calls = pipeline === undefined ? await checkCalls(project, definition, 'run.definition') : NO_CALLS;
    const found = [...calls.violations];
    const paramsSchema =
      definition.paramsSchema === undefined
        ? undefined
        : schemas.compile(found, 'run.definition.params_schema', definition.paramsSchema);
    if (found.length > 0) throw new RefusedError(invalidFields(found));
    const checked = { definition, digest, paramsSchema, warnings, callWarnings: calls.warnings };
    return { ...checked, ...(pipeline !== undefined && { pipeline }) };
  }

  async function find(
    project: string,
    { pipeline, definition }: RunSource,
  ): Promise<Pick<Resolved, 'definition' | 'digest' | 'pipeline'>> {
    if (definition !== undefined) return { definition, digest: await inTurns(digestOf(definition)) };
    if (pipeline === undefined) throw new Error('a run without a source');
    const { name, revision } = pipeline;
    const known = await withConnection(pool, async (tx) => {
      const found = await findPipeline(tx, project, name, revision);
      if (found === undefined) throw await unknownPipeline(tx, project, name);
      return found;
    });
    if (known.found === undefined) throw noSuchRevision(name, revision ?? 0, known.newestRevision);
    const { view, definition: stored, digest } = known.found;
    return { definition: stored, digest, pipeline: { name, revision: view.revision } };
  }

  /** Whether it can be made while these replicas serve. */
  async function checkNow(
    project: string,
    run: NewRun,
    request: CheckedRun['request'],
    resolved: Promise<Resolved>,
  ): Promise<CheckedRun | Refusal> {
    // Awaited whatever else is wrong: nobody else hears of its refusal.
    const found = await resolved;
    const oldest = replica.oldest();
    const { startMs } = run;
    if (startMs !== undefined && oldest !== undefined && oldest.eventVersion < DELAY_VERSION) {
      return replicaTooOld(oldest).refusal;
    }
    return checkRun(project, run, request, found);
  }

  async function createOne(
    project: string,
    run: NewRun,
    resolved: Promise<Resolved>,
    call?: JobKey,
  ): Promise<CreatedRun | Refusal> {
    const request = await requestOf(run);
    const asked = request && { project, requestId: request.id, bodyDigest: request.bodyDigest };
    return await createOnce(pool, asked, async () => {
      const checked = await checkNow(project, run, request, resolved);
      return isRefusal(checked) ? checked : await creates.create({ ...checked, ...(call !== undefined && { call }) });
    });
  }

  return {
    async create(project, run, call) {
      const resolved = resolve(project, run);
      const created = await createOne(project, run, resolved, call);
      if (isRefusal(created)) throw new RefusedError(created);
      return { ...created, warnings: created.view === undefined ? [] : warningsOf(await resolved) };
    },
    async prepare(project, run) {
      const resolved = resolve(project, run);
      const checked = await checkNow(project, run, undefined, resolved);
      if (isRefusal(checked)) throw new RefusedError(checked);
      const { definition, pipeline, warnings } = await resolved;
      const { params, labels, command } = checked;
      const source = pipeline !== undefined && { pipeline };
      return { definition, ...source, params, labels, trigger: command.trigger, warnings: messagesOf(warnings) };
    },
    async check(project, run) {
      const resolved = await resolve(project, run);
      const checked = checkRun(project, run, undefined, resolved);
      if (isRefusal(checked)) throw new RefusedError(checked);
      return messagesOf(warningsOf(resolved));
    },
    async createBatch(project, runs) {
      const sources: string[] = [];
      for (const { pipeline, definition } of runs) {
        sources.push(
          definition === undefined
            ? `${pipeline?.name} ${pipeline?.revision ?? ''}`
            : await inTurns(digestOf(definition)),
        );
      }
      const resolved = new Map<string, Promise<Resolved>>();
      return await Promise.all(
        runs.map(async (run, index) => {
          const source = sources[index] ?? '';
          const shared = resolved.get(source) ?? resolve(project, run);
          resolved.set(source, shared);
          const created = await createOne(project, run, shared);
          return isRefusal(created) ? created : created.runId;
        }),
      );
    },
  };
}

const NO_CALLS: CallFindings = { violations: [], warnings: [] };

function warningsOf({ warnings, callWarnings }: Resolved): readonly Warning[] {
  return [...warnings, ...callWarnings];
}

function messagesOf(warnings: readonly Warning[]): readonly string[] {
  return warnings.map(({ message }) => message);
}

async function requestOf(run: NewRun): Promise<CheckedRun['request']> {
  const { requestId } = run;
  return requestId === undefined ? undefined : { id: requestId, bodyDigest: await inTurns(bodyDigest('create', run)) };
}

function checkRun(
  project: string,
  run: NewRun,
  request: CheckedRun['request'],
  resolved: Resolved,
): CheckedRun | Refusal {
  const found: FieldViolation[] = [];
  const { definition, digest, pipeline, paramsSchema } = resolved;
  const params: JsonObject =
    paramsSchema === undefined ? run.params : checkBounded(paramsSchema, found, 'run.params', run.params);
  const labels = { ...definition.labels, ...run.labels };
  if (Object.keys(labels).length > LIMITS.labels) {
    const description = `with those of the definition there are ${Object.keys(labels).length}, at most ${LIMITS.labels} are allowed`;
    found.push({ field: 'run.labels', description });
  }
  const { trigger, traceparent, startMs } = run;
  if (startMs !== undefined && startMs > Date.now() + LIMITS.delayMs) {
    const description = `must be at most 365 days ahead; got ${new Date(startMs).toISOString()}`;
    found.push({ field: 'run.start_time', description });
  }
  if (found.length > 0) return invalidFields(found);
  return {
    project,
    digest,
    definition,
    command: {
      type: 'Create',
      ...(pipeline !== undefined && { pipeline: pipeline.name, revision: pipeline.revision }),
      trigger,
      ...(startMs !== undefined && { startMs }),
    },
    params,
    labels,
    traceparent: traceparent ?? '',
    request,
  };
}
