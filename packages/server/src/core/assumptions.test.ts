import { expect, it } from 'vitest';
import { checkAssumptions } from './assumptions.ts';
import type { Found } from './check-fields.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';

it('what is assumed of a job is told by its whole name, however long', () => {
  const found: Found = [];
  const name = 'n'.repeat(100);
  checkAssumptions(found, 'assumed', definitionOf(jobNamed('job')), new Map([[name, { outcome: 'SUCCEEDED' }]]));
  expect(found).toMatchObject([{ field: `assumed["${name}"]` }]);
});
