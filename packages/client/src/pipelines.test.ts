import { PipelineService } from '@conveyor/protocol/conveyor/v1/pipeline_service_pb.js';
import { describe, expect, it } from 'vitest';
import { pipeline } from './pipeline-builder.ts';
import { clientThrough, doors } from './testing/doors.ts';
import { startScriptedServer } from './testing/scripted-server.ts';

describe.each(doors)('pipelines over %s', (door) => {
  it('are validated as they would be applied, and two revisions compared', async () => {
    const asked: unknown[] = [];
    await using server = await startScriptedServer((router) =>
      router.service(PipelineService, {
        applyPipeline({ name, validateOnly, expectedRevision, definition }) {
          asked.push({ name, validateOnly, expectedRevision, jobs: definition?.jobs.length });
          const newest = name === 'new' ? {} : { pipeline: { name, revision: 2 } };
          const warningDetails = name === 'new' ? [] : [{ field: 'definition.jobs[0].driver', message: 'w' }];
          const told = { changed: true, warnings: ['w'], warningDetails };
          return { ...newest, ...told, ...(validateOnly && { diff: { addedJobs: ['build'] } }) };
        },
        diffPipelineRevisions(request) {
          asked.push(request);
          return { fromRevision: 1, toRevision: 2, diff: { changeCount: 3 } };
        },
      }),
    );
    const { pipelines } = clientThrough(door, server);
    const ci = pipeline('ci').job('build', { driver: 'shell' });
    expect(await pipelines.validate({ ...ci, definition: ci.definition, expectedRevision: 2 })).toMatchObject({
      newest: { revision: 2 },
      changed: true,
      diff: { addedJobs: ['build'] },
      warnings: ['w'],
      warningDetails: [{ field: 'definition.jobs[0].driver', message: 'w' }],
    });
    // As a server answers that is older than the fields of warnings.
    expect(await pipelines.validate({ name: 'new', definition: {} })).toMatchObject({
      newest: undefined,
      warningDetails: [{ field: '', message: 'w' }],
    });
    expect(await pipelines.apply(ci)).toMatchObject({
      pipeline: { revision: 2 },
      changed: true,
      warningDetails: [{ field: 'definition.jobs[0].driver', message: 'w' }],
    });
    expect(await pipelines.diff('ci', 1)).toMatchObject({ toRevision: 2, diff: { changeCount: 3 } });
    await pipelines.diff('ci', 1, { toRevision: 2 });
    expect(asked).toMatchObject([
      { name: 'ci', validateOnly: true, expectedRevision: 2, jobs: 1 },
      { name: 'new', validateOnly: true, expectedRevision: undefined, jobs: 0 },
      { name: 'ci', validateOnly: false, expectedRevision: undefined, jobs: 1 },
      { name: 'ci', fromRevision: 1, toRevision: 0 },
      { name: 'ci', fromRevision: 1, toRevision: 2 },
    ]);
  });
});
