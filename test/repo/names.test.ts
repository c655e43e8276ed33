// Keeps names that say nothing (utils, common, helpers, manager) out of the tree.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');

function saysNothing(path: string): boolean {
  return path.split('/').some((part) => /(^|[._-])(common|helpers?|managers?|utils?)([._-]|$)/i.test(part));
}

it.each(['packages/server/src/utils/a.ts', 'a/b-helpers.ts', 'a/common.ts', 'a/job-manager.ts', 'a/util.test.ts'])(
  'refuses %s',
  (path) => expect(saysNothing(path)).toBe(true),
);

it.each(['packages/server/src/core/commons-license.ts', 'a/utility-rate.ts'])('accepts %s', (path) =>
  expect(saysNothing(path)).toBe(false),
);

it('no folder or file of the repository is called utils, common, helpers or manager', () => {
  const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: root })
    .toString()
    .trim()
    .split('\n');
  expect(files.length).toBeGreaterThan(10);
  expect(files.filter(saysNothing)).toEqual([]);
});
