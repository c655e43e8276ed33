import { type JsonObject, equals, toJson } from '@bufbuild/protobuf';
import { type JobOptions, type PipelineDefinition, pipeline } from '@conveyor/client';
import { JobDefinitionSchema, PipelineDefinitionSchema } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { ScheduleSpecSchema } from '@conveyor/protocol/conveyor/v1/schedule_pb.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readMessageFile } from './message-file.ts';
import { messageJson, messageYaml } from './message-yaml.ts';
import { parsePipeline } from './pipeline-file.ts';
import { scheduleFile } from './schedule-file.ts';
import { messages } from './testing/arbitrary-message.ts';

const runs = { numRuns: 300 };
/** A limit as files and programs write it: a number, or an expression in its place. */
const limits = fc.oneof(
  fc.integer({ min: 1, max: 1_000 }),
  fc.string().map((source) => `\${{ ${source} }}`),
);

/** Reads a definition that must be one. */
function definitionIn(source: string): PipelineDefinition {
  return parsePipeline(source, 'ci.yaml').definition;
}

describe('a definition', () => {
  it('survives being written as YAML and read again, and again', () => {
    fc.assert(
      fc.property(messages(PipelineDefinitionSchema), (definition) => {
        const yaml = messageYaml(PipelineDefinitionSchema, { name: 'ci' }, definition);
        const read = definitionIn(yaml);
        expect(toJson(PipelineDefinitionSchema, read)).toEqual(toJson(PipelineDefinitionSchema, definition));
        expect(equals(PipelineDefinitionSchema, read, definition)).toBe(true);
        expect(messageYaml(PipelineDefinitionSchema, { name: 'ci' }, read)).toBe(yaml);
      }),
      runs,
    );
  });

  it('survives being written as JSON and read again, with long and with short names', () => {
    fc.assert(
      fc.property(messages(PipelineDefinitionSchema), fc.boolean(), (definition, useProtoFieldName) => {
        for (const json of [
          toJson(PipelineDefinitionSchema, definition, { useProtoFieldName }),
          messageJson(PipelineDefinitionSchema, definition),
        ]) {
          expect(equals(PipelineDefinitionSchema, definitionIn(JSON.stringify(json)), definition)).toBe(true);
        }
      }),
      runs,
    );
  });

  it('is the same when a program builds it', () => {
    // What the builder has options for.
    const fields = ['driver', 'spec', 'when', 'retry', 'timeouts', 'on_lease_doubt', 'allow_failure', 'secrets'];
    const limited = fc.record({
      concurrency: fc.record({ key: fc.string(), limit: limits, policy: fc.constantFrom('queue', 'reject') }),
      rateLimits: fc.array(fc.record({ key: fc.string(), limit: limits, period: fc.constant('60s') }), {
        maxLength: 2,
      }),
      matrix: fc.record({ axes: fc.constant({ n: [1, 2] }), maxParallel: limits }),
    });
    const jobs = fc.array(fc.tuple(messages(JobDefinitionSchema, fields), limited, fc.infiniteStream(fc.boolean())), {
      maxLength: 5,
    });
    const rest = messages(PipelineDefinitionSchema, ['labels', 'params_schema']);
    fc.assert(
      fc.property(jobs, rest, (generated, { labels, paramsSchema }) => {
        let built = pipeline<string>('ci', { labels, paramsSchema });
        const written = generated.map(([job, shared, isNeeded], index) => {
          const needs = generated
            .slice(0, index)
            .flatMap((_, earlier) => (isNeeded.next().value ? [`job-${earlier}`] : []));
          return {
            ...(messageJson(JobDefinitionSchema, job) as JsonObject & { driver: string }),
            ...shared,
            name: `job-${index}`,
            needs,
          };
        });
        for (const { name, driver = '', ...options } of written)
          built = built.job(name, { driver, ...(options as Partial<JobOptions<string>>) });
        const json = { ...messageJson(PipelineDefinitionSchema, { ...built.definition, jobs: [] }), jobs: written };
        expect(equals(PipelineDefinitionSchema, definitionIn(JSON.stringify(json)), built.definition)).toBe(true);
      }),
      runs,
    );
  });
});

describe('a schedule', () => {
  it('survives being written as YAML and read again', () => {
    fc.assert(
      fc.property(messages(ScheduleSpecSchema), (spec) => {
        const read = readMessageFile(messageYaml(ScheduleSpecSchema, { name: 'n' }, spec), 'n.yaml', scheduleFile);
        expect(
          'message' in read && read.problems.length === 0 ? toJson(ScheduleSpecSchema, read.message) : read,
        ).toEqual(toJson(ScheduleSpecSchema, spec));
      }),
      runs,
    );
  });
});
