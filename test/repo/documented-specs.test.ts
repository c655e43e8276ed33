// What documents show as a job of the driver `shell` is one that it takes: somebody will copy it.
import { globSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { createShellDriver } from '../../examples/shell/shell-driver.ts';
import { parsePipeline } from '../../packages/cli/src/pipeline-file.ts';
import type { FieldViolation } from '../../packages/server/src/core/refusal.ts';
import { compileSchema } from '../../packages/server/src/core/json-schema.ts';

const documents = globSync(['*.md', 'docs/**/*.md', 'examples/**/*.md', 'packages/*/*.md'], {
  exclude: (path) => path.includes('node_modules'),
});
const schema = compileSchema([], 'spec', createShellDriver({ root: '.', slots: 1 }).specSchema ?? {});

interface Shown {
  readonly document: string;
  readonly spec: string;
}

/** The specs of shell jobs as a document has them: in one line as YAML, JSON and programs write them, or as lines of YAML below the word. */
function specsOf(document: string): readonly Shown[] {
  const text = readFileSync(document, 'utf8');
  const jobs = text.matchAll(/driver"?: *["']?shell\b["']?(?:(?!driver"?:|```)[\s\S])*?\bspec"?:(?=\s*\n?\s*[{\w])/g);
  return Array.from(jobs, ({ 0: head, index }) => ({ document, spec: specAt(text.slice(index + head.length)) }));
}

function specAt(text: string): string {
  if (!text.startsWith('\n')) return flowAt(text.trimStart()).replaceAll('`', "'");
  const [, indent = ''] = /^\n( *)/.exec(text) ?? [];
  const [block = ''] = new RegExp(`^(?:\\n${indent} *\\S.*)+`).exec(text) ?? [];
  return block;
}

/** From a brace to the one that closes it. */
function flowAt(text: string): string {
  let depth = 0;
  for (const [at, char] of Array.from(text).entries()) {
    if (char === '{') depth += 1;
    if (char === '}') depth -= 1;
    if (depth === 0) return text.slice(0, at + 1);
  }
  return text;
}

/** What the driver would say of it. */
function problemsOf(spec: string): readonly string[] {
  const job = `name: x\njobs:\n  - name: x\n    driver: shell\n    spec: ${spec}\n`;
  const { definition } = parsePipeline(job, 'document');
  const found: FieldViolation[] = [];
  schema?.check(found, 'spec', definition.jobs[0]?.spec ?? {});
  return found.map(({ field, description }) => `${field}: ${description}`);
}

const shown = documents.flatMap(specsOf);

test('documents show specs of the shell driver, in lines and in braces', () => {
  const specs = (of: string) => shown.filter(({ document }) => document === of).map(({ spec }) => spec);
  expect(specs('README.md')).toContain('\n      commands: [cat "$CONVEYOR_NEEDS"]');
  expect(specs('docs/api.md')).toEqual(['{"commands": ["echo hello"]}']);
  expect(specs('packages/client/README.md')).toContain("{ commands: ['make'] }");
});

test('a spec that the shell driver does not take is found', () => {
  expect(problemsOf('{ run: make }')).not.toEqual([]);
});

test.each(shown)('the shell driver takes $spec of $document', ({ spec }) => {
  expect(problemsOf(spec)).toEqual([]);
});
