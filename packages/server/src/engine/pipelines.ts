// Pipelines and their revisions. A revision never changes; applying the newest definition again makes none.
import { invalidFields, RefusedError } from '../core/refusal.ts';
import type { PipelineView } from '../core/views.ts';
import { pipelineNamesLike } from '../store/called-pipelines.ts';
import {
  type DefinitionDigest,
  type DefinitionWrite,
  definitionWrite,
  digestOf,
  insertDefinitions,
} from '../store/definition-rows.ts';
import { readClock } from '../store/ledger-rows.ts';
import {
  advancePipeline,
  deletePipeline,
  findPipeline,
  insertPipeline,
  insertRevision,
  listPipelines,
  listRevisions,
  lockPipeline,
} from '../store/pipelines.ts';
import { type Pool, withConnection, withTransaction } from '../store/pool.ts';
import type { Tx } from '../store/sql.ts';
import { type CallCheck, MAX_NAMES } from './call-check.ts';
import type { PipelineOperations } from './engine.ts';
import { inTurns } from './pace.ts';
import { assertKnown, noSuchPipeline, noSuchRevision, numberCursor } from './refusals.ts';
import type { Replica } from './replica.ts';
import { type SpecCheck, specMismatch } from './spec-check.ts';

export interface PipelinesOptions {
  readonly pool: Pool;
  readonly checkSpecs: SpecCheck;
  readonly checkCalls: CallCheck;
  readonly replica: Pick<Replica, 'oldest'>;
}

export function createPipelines({ pool, checkSpecs, checkCalls, replica }: PipelinesOptions): PipelineOperations {
  return {
    async apply(project, name, definition, expectedRevision) {
      assertKnown(definition, replica.oldest());
      const specs = await checkSpecs(definition, 'definition');
      if (specs.violations.length > 0) throw new RefusedError(specMismatch(specs.violations));
      const calls = await checkCalls(project, { ...definition, name }, 'definition');
      if (calls.violations.length > 0) throw new RefusedError(invalidFields(calls.violations));
      const written = await inTurns(definitionWrite(definition));
      const { view, changed } = await withTransaction(pool, (tx) =>
        apply(tx, project, name, written, expectedRevision),
      );
      return { pipeline: { ...view, definition }, changed, warnings: [...specs.warnings, ...calls.warnings] };
    },
    async validate(project, name, definition, { expectedRevision, found }) {
      const specs = await checkSpecs(definition, 'definition');
      const calls = await checkCalls(project, { ...definition, name }, 'definition');
      const wrong = [...found, ...calls.violations];
      if (wrong.length > 0) throw new RefusedError(invalidFields([...wrong, ...specs.violations]));
      if (specs.violations.length > 0) throw new RefusedError(specMismatch(specs.violations));
      const stored = await withConnection(pool, (tx) => findPipeline(tx, project, name, undefined));
      const current = { revision: stored?.newestRevision ?? 0, digest: stored?.found?.digest };
      const changed = !isUnchanged(name, current, await inTurns(digestOf(definition)), expectedRevision);
      return { newest: stored?.found?.view, changed, warnings: [...specs.warnings, ...calls.warnings] };
    },
    get: (project, name, revision) => withConnection(pool, (tx) => getPipeline(tx, project, name, revision)),
    getTwo: (project, name, from, to) =>
      withConnection(pool, async (tx) => ({
        from: await getPipeline(tx, project, name, from),
        to: await getPipeline(tx, project, name, to),
      })),
    list: (project, { size, after }) => withConnection(pool, (tx) => listPipelines(tx, project, { size, after })),
    async listRevisions(project, name, { size, after }) {
      const before = numberCursor(after);
      return await withConnection(pool, async (tx) => {
        if ((await findPipeline(tx, project, name, undefined)) === undefined) throw noSuchPipeline(name);
        return await listRevisions(tx, project, name, { size, before });
      });
    },
    async delete(project, name) {
      const deleted = await withConnection(pool, (tx) => deletePipeline(tx, project, name));
      if (!deleted) throw noSuchPipeline(name);
    },
  };
}

async function apply(
  tx: Tx,
  project: string,
  name: string,
  written: DefinitionWrite,
  expectedRevision: number | undefined,
): Promise<{ view: Omit<PipelineView, 'definition'>; changed: boolean }> {
  const { digest } = written;
  const nowMs = await readClock(tx);
  await insertDefinitions(tx, [written], nowMs);
  if (await insertPipeline(tx, project, name, nowMs)) {
    assertExpected(name, expectedRevision, 0);
    await insertRevision(tx, project, name, 1, digest, nowMs);
    return { view: { project, name, revision: 1, createdMs: nowMs, updatedMs: nowMs }, changed: true };
  }
  const { revision, createdMs, updatedMs, ...newest } = await lockPipeline(tx, project, name);
  const current = { revision: newest.deleted ? 0 : revision, digest: newest.digest };
  if (isUnchanged(name, current, digest, expectedRevision)) {
    return { view: { project, name, revision, createdMs, updatedMs }, changed: false };
  }
  const next = { revision: revision + 1, updatedMs: Math.max(nowMs, updatedMs) };
  await insertRevision(tx, project, name, next.revision, digest, next.updatedMs);
  await advancePipeline(tx, project, name, next.revision, next.updatedMs);
  return { view: { project, name, createdMs, ...next }, changed: true };
}

/** Whether the newest revision, 0 when there is none, has the definition already. Throws when another one was expected. */
function isUnchanged(
  name: string,
  current: { readonly revision: number; readonly digest: DefinitionDigest | undefined },
  digest: DefinitionDigest,
  expectedRevision: number | undefined,
): boolean {
  const isSame = current.revision > 0 && current.digest === digest;
  // An apply whose answer was lost is repeated with the revision that it began from.
  const isRepeated = isSame && expectedRevision === current.revision - 1;
  if (!isRepeated) assertExpected(name, expectedRevision, current.revision);
  return isSame;
}

async function getPipeline(tx: Tx, project: string, name: string, revision: number | undefined): Promise<PipelineView> {
  const pipeline = await findPipeline(tx, project, name, revision);
  if (pipeline === undefined) throw noSuchPipeline(name, await pipelineNamesLike(tx, project, [name], MAX_NAMES));
  if (pipeline.found === undefined) throw noSuchRevision(name, revision ?? 0, pipeline.newestRevision);
  return pipeline.found.view;
}

function assertExpected(name: string, expected: number | undefined, current: number): void {
  if (expected === undefined || expected === current) return;
  const is = current === 0 ? 'does not exist' : `is at revision ${current}`;
  throw new RefusedError({
    refused: 'REVISION_MISMATCH',
    message: `pipeline ${name} ${is}, not at revision ${expected}: read it again and apply the change to what it is now`,
    metadata: { revision: String(current) },
  });
}
