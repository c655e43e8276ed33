// The rows of pipelines and their revisions. A deleted pipeline keeps its row, so that its numbering continues.
import { sql } from 'kysely';
import type { Definition } from '../core/definition.ts';
import type { Page, PipelineView, RevisionView } from '../core/views.ts';
import type { DefinitionDigest } from './definition-rows.ts';
import { affectRows, fetchPage, fetchRows, pageOf, tables } from './query.ts';
import type { Tx } from './sql.ts';

/** Makes the row of a pipeline at revision 1. Returns false when there is one, deleted or not. */
export async function insertPipeline(tx: Tx, project: string, name: string, nowMs: number): Promise<boolean> {
  const query = tables
    .insertInto('pipelines')
    .values({ project, name, revision: 1, created_ms: nowMs, updated_ms: nowMs, deleted_ms: null })
    .onConflict((conflict) => conflict.doNothing());
  return (await affectRows(tx, query)) === 1;
}

export interface LockedPipeline {
  /** The newest, also when the pipeline is deleted. */
  readonly revision: number;
  /** Undefined once the revisions of a deleted pipeline are removed. */
  readonly digest: DefinitionDigest | undefined;
  readonly deleted: boolean;
  readonly createdMs: number;
  readonly updatedMs: number;
}

/** Locks a pipeline that has a row. */
export async function lockPipeline(tx: Tx, project: string, name: string): Promise<LockedPipeline> {
  const lock = tables
    .selectFrom('pipelines')
    .select(['revision', 'created_ms', 'updated_ms', 'deleted_ms'])
    .where('project', '=', project)
    .where('name', '=', name)
    .forUpdate();
  const [row] = await fetchRows(tx, lock);
  if (row === undefined) throw new Error(`pipeline ${name} has no row`);
  return {
    revision: row.revision,
    digest: await findRevision(tx, project, name, row.revision),
    deleted: row.deleted_ms !== null,
    createdMs: row.created_ms,
    updatedMs: row.updated_ms,
  };
}

async function findRevision(
  tx: Tx,
  project: string,
  name: string,
  revision: number,
): Promise<DefinitionDigest | undefined> {
  const query = tables
    .selectFrom('pipeline_revisions')
    .select('digest')
    .where('project', '=', project)
    .where('pipeline', '=', name)
    .where('revision', '=', revision);
  return (await fetchRows(tx, query))[0]?.digest.toString('hex');
}

/** Stores one revision of a pipeline whose row the transaction holds. */
export async function insertRevision(
  tx: Tx,
  project: string,
  name: string,
  revision: number,
  digest: DefinitionDigest,
  nowMs: number,
): Promise<void> {
  const row = { project, pipeline: name, revision, digest: Buffer.from(digest, 'hex'), created_ms: nowMs };
  await affectRows(tx, tables.insertInto('pipeline_revisions').values(row));
}

/** Makes a revision the newest one; the pipeline is no longer deleted. */
export async function advancePipeline(
  tx: Tx,
  project: string,
  name: string,
  revision: number,
  nowMs: number,
): Promise<void> {
  const query = tables
    .updateTable('pipelines')
    .set({ revision, updated_ms: nowMs, deleted_ms: null })
    .where('project', '=', project)
    .where('name', '=', name);
  await affectRows(tx, query);
}

/** Marks a pipeline as deleted. Returns false when there is none, or it is deleted already. */
export async function deletePipeline(tx: Tx, project: string, name: string): Promise<boolean> {
  const query = tables
    .updateTable('pipelines')
    .set({ deleted_ms: sql<number>`floor(extract(epoch from clock_timestamp()) * 1000)`, pruned: false })
    .where('project', '=', project)
    .where('name', '=', name)
    .where('deleted_ms', 'is', null);
  return (await affectRows(tx, query)) === 1;
}

/**
 * Removes revisions of one deleted pipeline that nobody else holds; its row stays, so that its numbering continues. Returns how many
 * it looked at, with the pipeline: 0 when there is nothing to do.
 */
export async function prunePipelines(tx: Tx, limit: number): Promise<number> {
  const { rows } = await tx.query<{ touched: number }>(
    `with unpruned as (
       select project, name from pipelines where deleted_ms is not null and not pruned limit 1 for update skip locked
     ), old as (
       select r.project, r.pipeline, r.revision from unpruned u
       join pipeline_revisions r on r.project = u.project and r.pipeline = u.name order by r.revision limit $1
     ), gone as (
       delete from pipeline_revisions r using old
       where r.project = old.project and r.pipeline = old.pipeline and r.revision = old.revision returning r.revision
     ), done as (
       update pipelines p set pruned = true from unpruned u
       where p.project = u.project and p.name = u.name and (select count(*) from old) < $1
     )
     select ((select count(*) from gone) + (select count(*) from unpruned))::int as touched`,
    [limit],
  );
  return rows[0]?.touched ?? 0;
}

export interface FoundPipeline {
  readonly newestRevision: number;
  /** The pipeline at the revision asked for; undefined when it has no such revision. */
  readonly found:
    | { readonly view: PipelineView; readonly definition: Definition; readonly digest: DefinitionDigest }
    | undefined;
}

/** Reads a pipeline that is not deleted, at its newest or a given revision; undefined when there is none. */
export async function findPipeline(
  tx: Tx,
  project: string,
  name: string,
  revision: number | undefined,
): Promise<FoundPipeline | undefined> {
  const query = tables
    .selectFrom('pipelines as p')
    .leftJoin('pipeline_revisions as r', (join) =>
      join
        .onRef('r.project', '=', 'p.project')
        .onRef('r.pipeline', '=', 'p.name')
        .on('r.revision', '=', revision ?? sql.ref<number>('p.revision')),
    )
    .leftJoin('definitions as d', 'd.digest', 'r.digest')
    .select(['p.revision as newest', 'p.created_ms', 'p.updated_ms', 'r.revision', 'r.digest', 'd.body'])
    .where('p.project', '=', project)
    .where('p.name', '=', name)
    .where('p.deleted_ms', 'is', null);
  const [row] = await fetchRows(tx, query, revision === undefined ? 'newest_revision' : 'given_revision');
  if (row === undefined) return undefined;
  const { newest: newestRevision, body: definition, created_ms: createdMs, updated_ms: updatedMs, digest } = row;
  if (row.revision === null || definition === null || digest === null) return { newestRevision, found: undefined };
  const view = { project, name, revision: row.revision, definition, createdMs, updatedMs };
  return { newestRevision, found: { view, definition, digest: digest.toString('hex') } };
}

/** Lists pipelines that are not deleted, by name, without definitions. */
export async function listPipelines(
  tx: Tx,
  project: string,
  page: { readonly size: number; readonly after: string | undefined },
): Promise<Page<PipelineView>> {
  const query = tables
    .selectFrom('pipelines')
    .select(['name', 'revision', 'created_ms', 'updated_ms', sql<number>`256`.as('bytes')])
    .where('project', '=', project)
    .where('deleted_ms', 'is', null)
    .$if(page.after !== undefined, (all) => all.where('name', '>', page.after ?? ''))
    .orderBy('name')
    .limit(page.size + 1);
  const rows = await fetchPage(tx, query, sql`name`, page.size);
  const view = (row: (typeof rows.rows)[number]): PipelineView => ({
    project,
    name: row.name,
    revision: row.revision,
    createdMs: row.created_ms,
    updatedMs: row.updated_ms,
  });
  return pageOf(rows, view, (row) => row.name);
}

/** Lists the revisions of a pipeline, newest first. */
export async function listRevisions(
  tx: Tx,
  project: string,
  pipeline: string,
  page: { readonly size: number; readonly before: number | undefined },
): Promise<Page<RevisionView>> {
  const query = tables
    .selectFrom('pipeline_revisions as r')
    .innerJoin('definitions as d', 'd.digest', 'r.digest')
    .select(['r.revision', 'r.created_ms', 'r.digest', 'd.body'])
    .select(sql<number>`octet_length(d.body::text)`.as('bytes'))
    .where('r.project', '=', project)
    .where('r.pipeline', '=', pipeline)
    .$if(page.before !== undefined, (all) => all.where('r.revision', '<', page.before ?? 0))
    .orderBy('r.revision', 'desc')
    .limit(page.size + 1);
  const rows = await fetchPage(tx, query, sql`revision desc`, page.size);
  const view = (row: (typeof rows.rows)[number]): RevisionView => ({
    project,
    pipeline,
    revision: row.revision,
    definition: row.body,
    digest: row.digest.toString('hex'),
    createdMs: row.created_ms,
  });
  return pageOf(rows, view, (row) => row.revision);
}
