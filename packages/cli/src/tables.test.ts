import { create } from '@bufbuild/protobuf';
import { RunSchema } from '@conveyor/protocol/conveyor/v1/run_pb.js';
import pc from 'picocolors';
import { expect, test } from 'vitest';
import { runTable } from './tables.ts';

test.each([
  ['a call', { kind: 'pipeline', reference: '019.0' }, 'job 019.0'],
  ['a schedule', { kind: 'schedule', reference: 'schedules/nightly/2026-01-01' }, 'schedules/nightly/2026-01-01'],
  ['anybody else', { kind: 'push', reference: 'a'.repeat(2_000) }, 'push'],
])('a list of runs tells what made each: %s', (_, trigger, text) => {
  const run = create(RunSchema, { runId: '019', trigger });
  const [head = '', row = ''] = runTable([run], pc.createColors(false)).split('\n');
  const at = head.indexOf('TRIGGER');
  expect(row.slice(at).trimEnd()).toBe(text);
});
