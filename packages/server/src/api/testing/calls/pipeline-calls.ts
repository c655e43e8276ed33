// Calls on pipelines.
import { PipelineService } from '@conveyor/protocol/conveyor/v1/pipeline_service_pb.js';
import { expect } from 'vitest';
import { DEFINITION } from '../sample-definitions.ts';
import { type Case, definition, definitionJson } from './call-case.ts';

export const PIPELINE_CALLS: readonly Case[] = [
  {
    method: PipelineService.method.applyPipeline,
    request: { name: 'ci', definition, expectedRevision: 0 },
    asked: ['default', 'ci', DEFINITION, 0],
    answered: {
      changed: true,
      warnings: ['no shell driver is known'],
      warningDetails: [{ field: 'definition.jobs[0].driver', message: 'no shell driver is known' }],
      pipeline: { name: 'ci', revision: 3, definition: definitionJson, createTime: '2023-11-14T22:13:20Z' },
    },
  },
  {
    method: PipelineService.method.applyPipeline,
    request: {
      name: 'ci',
      definition: { ...definition, jobs: [{ ...definition.jobs[0], allowFailure: false }] },
      validateOnly: true,
    },
    asked: ['default', 'ci', expect.anything(), { expectedRevision: undefined, found: [] }],
    answered: {
      changed: true,
      warnings: ['no shell driver is known'],
      warningDetails: [{ field: 'definition.jobs[0].driver', message: 'no shell driver is known' }],
      pipeline: { name: 'ci', revision: 3 },
      diff: { changedJobs: [{ name: 'build', changes: [{ path: 'allow_failure', oldValue: true }] }], changeCount: 1 },
    },
    without: ['diff.changedJobs[0].changes[0].newValue'],
  },
  {
    method: PipelineService.method.diffPipelineRevisions,
    request: { name: 'ci', fromRevision: 1 },
    asked: ['default', 'ci', 1, undefined],
    answered: {
      fromRevision: 1,
      toRevision: 3,
      diff: {
        removedJobs: ['old'],
        changedJobs: [
          {
            name: 'build',
            changes: [
              { path: 'spec.env.CI', newValue: '1' },
              { path: 'spec.flags[1]', oldValue: 7, newValue: null },
              { path: 'timeouts.run_timeout', oldValue: '60s', newValue: '90.500s' },
            ],
          },
        ],
        changeCount: 3,
      },
    },
  },
  {
    method: PipelineService.method.getPipeline,
    request: { project: 'default', name: 'ci', revision: 2 },
    asked: ['default', 'ci', 2],
    answered: { pipeline: { updateTime: '2023-11-14T22:13:21.500Z' } },
  },
  {
    method: PipelineService.method.listPipelines,
    request: { pageSize: 2 },
    asked: ['default', { size: 2 }],
    answered: { pipelines: [{ name: 'ci' }], nextPageToken: expect.any(String) },
  },
  {
    method: PipelineService.method.listPipelineRevisions,
    request: { name: 'ci', pageSize: 5_000 },
    asked: ['default', 'ci', { size: 100 }],
    answered: { revisions: [{ revision: 3, digest: 'ab'.repeat(32), definition: definitionJson }] },
  },
  { method: PipelineService.method.deletePipeline, request: { name: 'ci' }, asked: ['default', 'ci'], answered: {} },
];
