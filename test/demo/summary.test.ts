// What the demo says at its end must name what went wrong and nothing else.
import { expect, test } from 'vitest';
import { type JobSummary, summaryText } from '../../examples/demo/summary.ts';

const ran = { outcome: 'succeeded', tookMs: 1_240, attempt: 1, instance: 'shell-1', outputs: {}, lastLines: [] };
const skipped = { outcome: 'skipped', attempt: 0, instance: '', outputs: {}, lastLines: [] };

function textOf(outcome: string, jobs: readonly JobSummary[]): string {
  return summaryText({ runId: 'r1', outcome, tookMs: 12_345, jobs }, (_, text) => text);
}

test('a run that succeeded is a table, its outputs and one line', () => {
  const text = textOf('succeeded', [
    { ...ran, name: 'clone', outputs: { commit: 'abc', files: 3 } },
    { ...ran, name: 'type-check', attempt: 2, instance: 'shell-2' },
  ]);
  expect(text.split('\n')).toEqual([
    'JOB         OUTCOME    TIME  ATTEMPT  DRIVER',
    'clone       succeeded  1.2s  1        shell-1',
    'type-check  succeeded  1.2s  2        shell-2',
    '',
    'outputs',
    '  clone.commit  abc',
    '  clone.files   3',
    '',
    'run r1 succeeded after 12.3s',
  ]);
});

test('a run that failed names the job, the end of its log and what was skipped', () => {
  const text = textOf('failed', [
    { ...ran, name: 'lint' },
    { ...ran, name: 'type-check', outcome: 'failed', failure: 'exit code 2', lastLines: ['a.ts(1,1): no', 'b.ts: no'] },
    { ...skipped, name: 'package' },
    { ...skipped, name: 'checksum' },
  ]);
  expect(text.split('\n').slice(2)).toEqual([
    'type-check  failed     1.2s  1        shell-1',
    'package     skipped    -     -        -',
    'checksum    skipped    -     -        -',
    '',
    'type-check FAILED: exit code 2; the end of its log, all of which is above behind `type-check |`:',
    '  a.ts(1,1): no',
    '  b.ts: no',
    '',
    'skipped, since what they need did not succeed: package, checksum',
    '',
    'run r1 failed after 12.3s',
  ]);
});

test('each part is painted by the outcome that it tells of', () => {
  const painted: string[] = [];
  const jobs = [
    { ...ran, name: 'lint' },
    { ...ran, name: 'test', outcome: 'failed' },
  ];
  summaryText({ runId: 'r1', outcome: 'failed', tookMs: 0, jobs }, (outcome, text) => {
    painted.push(`${outcome}: ${text.split(' ')[0]}`);
    return text;
  });
  expect(painted).toEqual([': JOB', 'succeeded: lint', 'failed: test', 'failed: test', 'failed: run']);
});
