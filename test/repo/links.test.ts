// Documents name files that exist: what moves takes its links along.
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';

const documents = globSync(['*.md', 'docs/**/*.md', 'examples/**/*.md', 'packages/*/*.md'], {
  exclude: (path) => path.includes('node_modules'),
});

test.each(documents)('every link of %s leads to a file', (document) => {
  const links = [...readFileSync(document, 'utf8').matchAll(/\]\((?!https?:)([^)#\s]+)/g)].map(([, link = '']) => link);
  expect(links.filter((link) => !existsSync(join(dirname(document), link)))).toEqual([]);
});

test('the architecture follows a job through at least twenty files', () => {
  const links = readFileSync('docs/architecture.md', 'utf8').matchAll(/\]\((\.\.\/packages\/[^)]+\.ts)\)/g);
  expect(new Set([...links].map(([, link]) => link)).size).toBeGreaterThan(20);
});
