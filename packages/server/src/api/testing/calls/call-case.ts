// A call of the contract as it should be understood and answered, and what several of them hold.
import type { DescMessage, DescMethod, MessageInitShape } from '@bufbuild/protobuf';
import { LeaseDoubt, RunCondition } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { RUN_ID } from '../sample-runs.ts';

export interface Case {
  readonly method: DescMethod;
  readonly request: MessageInitShape<DescMessage>;
  /** What the engine is asked for. */
  readonly asked: readonly unknown[];
  /** A part of the (last) response as JSON. */
  readonly answered: unknown;
  /** What the response must not hold, by path. */
  readonly without?: readonly string[];
}

export const definition = {
  jobs: [
    {
      name: 'build',
      driver: 'shell',
      spec: { run: 'make', env: { CI: '1' }, retries: 2, flags: [true, null] },
      when: RunCondition.SUCCESS,
      retry: { workload: 2, jitter: 0 },
      timeouts: { runTimeout: { seconds: 90n, nanos: 500_000_000 } },
      onLeaseDoubt: LeaseDoubt.STOP,
      allowFailure: true,
      secrets: ['TOKEN'],
      outputsSchema: { type: 'object', required: ['image'] },
    },
  ],
  paramsSchema: { type: 'object' },
  labels: { team: 'core' },
};
export const definitionJson = {
  jobs: [
    {
      name: 'build',
      driver: 'shell',
      spec: { run: 'make', env: { CI: '1' }, retries: 2, flags: [true, null] },
      retry: { workload: 2, jitter: 0 },
      timeouts: { runTimeout: '90.500s' },
      onLeaseDoubt: 'LEASE_DOUBT_STOP',
      allowFailure: true,
      secrets: ['TOKEN'],
      outputsSchema: { type: 'object', required: ['image'] },
    },
  ],
  paramsSchema: { type: 'object' },
  labels: { team: 'core' },
};
export const artifactJson = {
  name: 'app',
  digest: `sha256:${'0a'.repeat(32)}`,
  sizeBytes: '1024',
  uri: 's3://builds/app',
  mediaType: 'application/gzip',
};
export const trigger = { kind: 'push', actor: 'ada', reference: 'https://example.com/1' };
export const byApi = { kind: 'api', actor: '', reference: '' };
export const key = { runId: RUN_ID, job: 0 };
