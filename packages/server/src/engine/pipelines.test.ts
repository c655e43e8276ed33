import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Definition } from '../core/definition.ts';
import type { FieldViolation } from '../core/refusal.ts';
import { definitionOf, jobNamed } from '../core/testing/definitions.ts';
import { digestOf } from '../store/definition-rows.ts';
import { inTurns } from '../store/turns.ts';
import { prunePipelines } from '../store/pipelines.ts';
import { withConnection } from '../store/pool.ts';
import type { OlderReplica } from '../store/replica-rows.ts';
import { createCallCheck } from './call-check.ts';
import { createPipelines } from './pipelines.ts';
import { createDriverSchemas } from './driver-schemas.ts';
import { createSpecCheck } from './spec-check.ts';
import { type LedgerFixture, openTestLedger } from './testing/ledger-fixture.ts';

let ledger: LedgerFixture;
let pipelines: ReturnType<typeof createPipelines>;
let count = 0;
let project: string;
/** A replica of an older build that still serves. */
let older: OlderReplica | undefined;
const [first, second, third] = [1, 2, 3].map((step) => definitionOf(jobNamed('build', { spec: { step } })));

beforeAll(async () => {
  ledger = await openTestLedger();
  const { pool } = ledger;
  pipelines = createPipelines({
    pool,
    checkSpecs: createSpecCheck(createDriverSchemas(pool)),
    checkCalls: createCallCheck(pool),
    replica: { oldest: () => older },
  });
});
afterAll(() => ledger[Symbol.asyncDispose]());
beforeEach(() => {
  older = undefined;
  project = `project-${count++}`;
});

const refused = (reason: string) => ({ refusal: { refused: reason } });

test('each change makes a numbered revision; the same definition again makes none', async () => {
  const created = await pipelines.apply(project, 'ci', first!);
  expect(created).toMatchObject({ pipeline: { project, name: 'ci', revision: 1, definition: first }, changed: true });
  const changed = await pipelines.apply(project, 'ci', second!);
  expect(changed).toMatchObject({ pipeline: { revision: 2, createdMs: created.pipeline.createdMs }, changed: true });
  const again = await pipelines.apply(project, 'ci', structuredClone(second!));
  expect(again).toMatchObject({ pipeline: changed.pipeline, changed: false });
  expect(await pipelines.get(project, 'ci')).toEqual(changed.pipeline);
  expect(await pipelines.get(project, 'ci', 1)).toMatchObject({ revision: 1, definition: first });
  // Back to an earlier definition is a change too.
  expect(await pipelines.apply(project, 'ci', first!)).toMatchObject({ pipeline: { revision: 3 }, changed: true });
});

test('an expected revision that is not the newest changes nothing', async () => {
  await expect(pipelines.apply(project, 'ci', first!, 1)).rejects.toMatchObject(refused('REVISION_MISMATCH'));
  await expect(pipelines.get(project, 'ci')).rejects.toMatchObject(refused('PIPELINE_NOT_FOUND'));
  await pipelines.apply(project, 'ci', first!, 0);
  await pipelines.apply(project, 'ci', second!, 1);
  await expect(pipelines.apply(project, 'ci', third!, 1)).rejects.toMatchObject({
    refusal: { refused: 'REVISION_MISMATCH', metadata: { revision: '2' } },
  });
  await expect(pipelines.apply(project, 'ci', third!, 0)).rejects.toMatchObject(refused('REVISION_MISMATCH'));
  expect(await pipelines.get(project, 'ci')).toMatchObject({ revision: 2, definition: second });
});

test('an apply whose answer was lost may be repeated as it was', async () => {
  await pipelines.apply(project, 'ci', first!, 0);
  expect(await pipelines.apply(project, 'ci', first!, 0)).toMatchObject({ pipeline: { revision: 1 }, changed: false });
});

test('of many who apply at once, each gets a revision of its own and none is skipped', async () => {
  const definitions = Array.from({ length: 12 }, (_, step) => definitionOf(jobNamed('build', { spec: { at: step } })));
  const applied = await Promise.all(definitions.map((definition) => pipelines.apply(project, 'ci', definition)));
  const revisions = applied.map(({ pipeline }) => pipeline.revision).toSorted((a, b) => a - b);
  expect(revisions).toEqual(definitions.map((_, index) => index + 1));
});

test('of many who create the same pipeline at once, exactly one makes its first revision', async () => {
  const applied = await Promise.all(Array.from({ length: 12 }, () => pipelines.apply(project, 'ci', first!)));
  expect(applied.filter(({ changed }) => changed)).toHaveLength(1);
  expect(applied.every(({ pipeline }) => pipeline.revision === 1)).toBe(true);
});

test('of many who expect the same revision, exactly one changes it', async () => {
  await pipelines.apply(project, 'ci', first!);
  const definitions = Array.from({ length: 8 }, (_, step) => definitionOf(jobNamed('build', { spec: { cas: step } })));
  const applied = await Promise.allSettled(
    definitions.map((definition) => pipelines.apply(project, 'ci', definition, 1)),
  );
  expect(applied.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
});

test('a deleted pipeline is not found, and applied again it continues its numbering', async () => {
  const { pipeline } = await pipelines.apply(project, 'ci', first!);
  await pipelines.delete(project, 'ci');
  await expect(pipelines.get(project, 'ci')).rejects.toMatchObject(refused('PIPELINE_NOT_FOUND'));
  await expect(pipelines.listRevisions(project, 'ci', { size: 1 })).rejects.toMatchObject(
    refused('PIPELINE_NOT_FOUND'),
  );
  await expect(pipelines.delete(project, 'ci')).rejects.toMatchObject(refused('PIPELINE_NOT_FOUND'));
  expect((await pipelines.list(project, { size: 10 })).items).toEqual([]);
  await expect(pipelines.apply(project, 'ci', first!, 1)).rejects.toMatchObject(refused('REVISION_MISMATCH'));
  const again = await pipelines.apply(project, 'ci', first!, 0);
  expect(again).toMatchObject({ pipeline: { revision: 2, createdMs: pipeline.createdMs }, changed: true });
});

test('a revision that does not exist is not found, and which is the newest is told', async () => {
  await pipelines.apply(project, 'ci', first!);
  await expect(pipelines.get(project, 'ci', 2)).rejects.toMatchObject({
    refusal: { refused: 'PIPELINE_NOT_FOUND', metadata: { newest_revision: '1' } },
  });
  await expect(pipelines.get('another', 'ci')).rejects.toMatchObject(refused('PIPELINE_NOT_FOUND'));
});

test('pipelines are listed by name, without definitions, page by page', async () => {
  for (const name of ['c', 'a', 'b']) await pipelines.apply(project, name, first!);
  const page = await pipelines.list(project, { size: 2 });
  const rest = await pipelines.list(project, { size: 2, after: page.next ?? '' });
  expect([...page.items, ...rest.items].map(({ name }) => name)).toEqual(['a', 'b', 'c']);
  expect(page.items[0]).not.toHaveProperty('definition');
  expect(rest.next).toBeUndefined();
});

test('revisions are listed newest first, within the bytes of a page', async () => {
  const large = [0, 1, 2].map((step) => definitionOf(jobNamed('build', { spec: { step, text: 'x'.repeat(200_000) } })));
  for (const definition of large) await pipelines.apply(project, 'ci', definition);
  const page = await pipelines.listRevisions(project, 'ci', { size: 10 });
  const rest = await pipelines.listRevisions(project, 'ci', { size: 10, after: page.next ?? '' });
  expect(page.items.map(({ revision, digest }) => [revision, digest])).toEqual([
    [3, await inTurns(digestOf(large[2]!))],
    [2, await inTurns(digestOf(large[1]!))],
  ]);
  expect(rest.items).toMatchObject([{ project, pipeline: 'ci', revision: 1, definition: large[0] }]);
  expect(rest.next).toBeUndefined();
});

test('a deleted pipeline loses its revisions in passes, and its numbering goes on', async () => {
  await pipelines.apply(project, 'other', first!);
  for (const definition of [first, second, third]) await pipelines.apply(project, 'ci', definition!);
  await pipelines.delete(project, 'ci');
  const left = async () =>
    (await ledger.pool.query('select from pipeline_revisions where project = $1', [project])).rowCount;
  const prune = () => withConnection(ledger.pool, (tx) => prunePipelines(tx, 2));
  // Those that other tests have deleted go first, in any order.
  while ((await prune()) > 0) expect(await left()).toBeGreaterThanOrEqual(1);
  expect(await left()).toBe(1);
  expect(await pipelines.get(project, 'other')).toMatchObject({ revision: 1 });
  expect(await pipelines.apply(project, 'ci', third!)).toMatchObject({ pipeline: { revision: 4 }, changed: true });
  expect((await pipelines.listRevisions(project, 'ci', { size: 10 })).items.map(({ revision }) => revision)).toEqual([
    4,
  ]);
  expect(await prune()).toBe(0);
  await pipelines.delete(project, 'ci');
  expect(await prune()).toBeGreaterThan(0);
  expect(await left()).toBe(1);
});

test('a definition is validated as if it were applied, and nothing is written', async () => {
  const validate = (definition: Definition, expectedRevision?: number, found: readonly FieldViolation[] = []) =>
    pipelines.validate(project, 'ci', definition, { expectedRevision, found });
  expect(await validate(first!)).toMatchObject({
    newest: undefined,
    changed: true,
    warnings: [{ field: 'definition.jobs[0].driver' }],
  });
  await expect(pipelines.get(project, 'ci')).rejects.toMatchObject(refused('PIPELINE_NOT_FOUND'));
  const { pipeline } = await pipelines.apply(project, 'ci', first!);
  expect(await validate(first!)).toMatchObject({ newest: pipeline, changed: false });
  expect(await validate(first!, 0)).toMatchObject({ changed: false });
  expect(await validate(second!, 1)).toMatchObject({ newest: pipeline, changed: true });
  await expect(validate(second!, 0)).rejects.toMatchObject(refused('REVISION_MISMATCH'));
  expect(await pipelines.get(project, 'ci')).toEqual(pipeline);
  await pipelines.delete(project, 'ci');
  expect(await validate(first!, 0)).toMatchObject({ newest: undefined, changed: true });
});

test('what is wrong with specs is told together with what was found before', async () => {
  await ledger.connect('strict', 'i-1', { specSchema: { additionalProperties: false, properties: { script: {} } } });
  const wrong = definitionOf(
    jobNamed('build', { driver: 'strict', spec: { scirpt: 'make' } }),
    jobNamed('b', { driver: 'a\0b' }),
  );
  const found = [{ field: 'definition.jobs[1].driver', description: 'must be a name' }];
  const spec = {
    field: 'definition.jobs[0].spec.scirpt',
    description: 'is not known to the schema; did you mean "script"?',
  };
  await expect(pipelines.validate(project, 'ci', wrong, { expectedRevision: undefined, found })).rejects.toMatchObject({
    refusal: { refused: 'INVALID_FIELD', violations: [...found, spec] },
  });
});

test('two revisions are read to be compared, the newest unless another is named', async () => {
  await pipelines.apply(project, 'ci', first!);
  await pipelines.apply(project, 'ci', second!);
  await pipelines.apply(project, 'ci', third!);
  expect(await pipelines.getTwo(project, 'ci', 1)).toMatchObject({
    from: { revision: 1, definition: first },
    to: { revision: 3, definition: third },
  });
  expect(await pipelines.getTwo(project, 'ci', 3, 2)).toMatchObject({ from: { revision: 3 }, to: { revision: 2 } });
  await expect(pipelines.getTwo(project, 'ci', 1, 4)).rejects.toMatchObject(refused('PIPELINE_NOT_FOUND'));
  await expect(pipelines.getTwo(project, 'no', 1)).rejects.toMatchObject(refused('PIPELINE_NOT_FOUND'));
});

test('schemas of outputs are refused while a replica serves that would not check them', async () => {
  const typed = definitionOf(jobNamed('build', { outputsSchema: { required: ['image'] } }));
  older = { replica: 'r-0', version: '0.0.9', eventVersion: 3 };
  await expect(pipelines.apply(project, 'ci', typed)).rejects.toMatchObject(refused('REPLICA_TOO_OLD'));
  await pipelines.apply(project, 'ci', first!);
  older = undefined;
  expect(await pipelines.apply(project, 'ci', typed)).toMatchObject({ pipeline: { revision: 2 } });
});
