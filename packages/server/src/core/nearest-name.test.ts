import { describe, expect, it } from 'vitest';
import { nearestName } from './nearest-name.ts';

describe('nearestName', () => {
  const names = ['build', 'type-check', 'lint', 'test', 'package'];
  it.each([
    ['biuld', 'build'],
    ['typecheck', 'type-check'],
    ['tests', 'test'],
    ['packge', 'package'],
    ['apckgae', 'package'],
    ['apkcgae', undefined],
    ['linxx', 'lint'],
    ['type-checkers', undefined],
    ['deploy', undefined],
    ['x', undefined],
    ['', undefined],
  ])('of %s is %s', (wrong, near) => {
    expect(nearestName(wrong, names)).toBe(near);
  });
});
