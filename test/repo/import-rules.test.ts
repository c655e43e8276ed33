// Proves that lint refuses each forbidden import, by seeding it into an otherwise empty tree under the real configuration.
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
const server = 'packages/server/src';

type Seed = readonly [file: string, specifier: string, rule: string];

const forbidden: readonly Seed[] = [
  ['packages/protocol/src/a.ts', '@conveyor/client', 'protocol imports no other package'],
  ['packages/client/src/a.ts', '@conveyor/server', 'client imports of this repository only protocol'],
  ['packages/client/src/b.ts', '@conveyor/driver', 'client imports of this repository only protocol'],
  ['packages/client/src/c.ts', '../../cli/src/main.ts', 'client imports of this repository only protocol'],
  ['packages/driver/src/a.ts', '@conveyor/client', 'driver imports of this repository only protocol'],
  ['packages/driver/src/b.ts', '@conveyor/server', 'driver imports of this repository only protocol'],
  ['packages/cli/src/a.ts', '@conveyor/driver', 'cli imports of this repository client, server and protocol'],
  ['packages/cli/src/b.ts', 'pg', 'only store imports pg and kysely'],
  ['packages/cli/src/c.ts', '@connectrpc/connect', 'cli speaks through client'],
  [`${server}/app.ts`, '@conveyor/client', 'server imports of this repository only protocol'],
  [`${server}/index.ts`, 'kysely', 'only store imports pg and kysely'],
  [`${server}/config.ts`, '@grpc/grpc-js', 'only api imports Connect and gRPC'],
  ['packages/server/test/a.test.ts', '@conveyor/driver', 'server imports of this repository only protocol'],

  [`${server}/core/a.ts`, '../store/runs.ts', 'core imports nothing of store, engine, api or app'],
  [`${server}/core/b.ts`, '../engine/ledger.ts', 'core imports nothing of store, engine, api or app'],
  [`${server}/core/c.ts`, '../api/runs.ts', 'core imports nothing of store, engine, api or app'],
  [`${server}/core/d.ts`, '../app.ts', 'core imports nothing of store, engine, api or app'],
  [`${server}/core/plan/e.ts`, '../../store/runs.ts', 'core imports nothing of store, engine, api or app'],
  [`${server}/core/f.ts`, 'node:fs', 'core is pure: no node: modules'],
  [`${server}/core/g.ts`, 'fs/promises', 'core is pure: no node: modules'],
  [`${server}/core/h.ts`, 'pg', 'core is pure: no database'],
  [`${server}/core/i.ts`, 'kysely', 'core is pure: no database'],
  [`${server}/core/j.ts`, '@grpc/grpc-js', 'core is pure: no network'],
  [`${server}/core/k.ts`, '@conveyor/protocol/conveyor/v1/run_pb.js', 'protobuf messages never pass api'],
  [`${server}/core/l.ts`, '@conveyor/client', 'server imports of this repository only protocol'],

  [`${server}/store/a.ts`, '../engine/ledger.ts', 'store imports nothing of engine, api or app'],
  [`${server}/store/b.ts`, '../api/runs.ts', 'store imports nothing of engine, api or app'],
  [`${server}/store/c.ts`, '../app.ts', 'store imports nothing of engine, api or app'],
  [`${server}/store/d.ts`, '@connectrpc/connect', 'only api imports Connect and gRPC'],
  [`${server}/store/e.ts`, '@conveyor/protocol/conveyor/v1/run_pb.js', 'protobuf messages never pass api'],
  [`${server}/store/f.ts`, '@conveyor/driver', 'server imports of this repository only protocol'],

  [`${server}/engine/a.ts`, '../api/runs.ts', 'engine imports nothing of api or app'],
  [`${server}/engine/b.ts`, '../app.ts', 'engine imports nothing of api or app'],
  [`${server}/engine/c.ts`, 'pg', 'only store imports pg and kysely'],
  [`${server}/engine/d.ts`, 'kysely', 'only store imports pg and kysely'],
  [`${server}/engine/e.ts`, '@grpc/grpc-js', 'only api imports Connect and gRPC'],
  [`${server}/engine/f.ts`, '@connectrpc/connect-node', 'only api imports Connect and gRPC'],
  [`${server}/engine/g.ts`, '@conveyor/protocol/conveyor/v1/run_pb.js', 'protobuf messages never pass api'],
  [`${server}/engine/h.ts`, '@conveyor/client', 'server imports of this repository only protocol'],

  [`${server}/api/a.ts`, '../store/runs.ts', 'api imports engine and core, never store or app'],
  [`${server}/api/b.ts`, '../app.ts', 'api imports engine and core, never store or app'],
  [`${server}/api/doors/c.ts`, '../../store/runs.ts', 'api imports engine and core, never store or app'],
  [`${server}/api/d.ts`, 'pg', 'only store imports pg and kysely'],
  [`${server}/api/e.ts`, '@conveyor/driver', 'server imports of this repository only protocol'],
];

const allowed: readonly (readonly [file: string, specifier: string])[] = [
  ['packages/client/src/ok.ts', '@conveyor/protocol/conveyor/v1/run_pb.js'],
  ['packages/driver/src/ok.ts', '@conveyor/protocol/conveyor/v1/run_pb.js'],
  ['packages/cli/src/ok1.ts', '@conveyor/client'],
  ['packages/cli/src/ok2.ts', '@conveyor/server'],
  [`${server}/start.ts`, './store/runs.ts'],
  [`${server}/core/ok1.ts`, './runs.ts'],
  [`${server}/core/ok2.ts`, '@bufbuild/cel'],
  [`${server}/core/plan/ok3.ts`, '../runs.ts'],
  [`${server}/store/ok1.ts`, '../core/runs.ts'],
  [`${server}/store/ok2.ts`, 'pg'],
  [`${server}/store/ok3.ts`, 'node:crypto'],
  [`${server}/engine/ok1.ts`, '../store/runs.ts'],
  [`${server}/engine/ok2.ts`, '../core/runs.ts'],
  [`${server}/api/ok1.ts`, '../engine/ledger.ts'],
  [`${server}/api/ok2.ts`, '../core/runs.ts'],
  [`${server}/api/ok3.ts`, '@grpc/grpc-js'],
  [`${server}/api/ok4.ts`, '@conveyor/protocol/conveyor/v1/run_pb.js'],
];

const forms: readonly (readonly [form: string, file: string, source: string])[] = [
  ['a type import', `${server}/core/form1.ts`, "import type { A } from '../store/a.ts';\nexport type B = A;\n"],
  ['a re-export', `${server}/core/form2.ts`, "export { a } from '../store/a.ts';\n"],
  ['a star export', `${server}/core/form3.ts`, "export * from '../store/a.ts';\n"],
  ['a dynamic import', `${server}/core/form4.ts`, "export const a = await import('../store/a.ts');\n"],
];

const impurities: readonly (readonly [what: string, file: string, source: string, code: string])[] = [
  ['the clock', `${server}/core/clock.ts`, 'export const a = Date.now();\n', 'eslint(no-restricted-properties)'],
  ['randomness', `${server}/core/random.ts`, 'export const a = Math.random();\n', 'eslint(no-restricted-properties)'],
  ['a timer', `${server}/core/timer.ts`, 'setTimeout(() => {}, 1);\n', 'eslint(no-restricted-globals)'],
];

interface Diagnostic {
  readonly code: string;
  readonly filename: string;
  readonly help?: string;
}

let diagnostics: readonly Diagnostic[];

/** Lints all seeds in one run: a process for each would cost more than all the rest of this file. */
async function lint(seeds: ReadonlyMap<string, string>): Promise<readonly Diagnostic[]> {
  const dir = await mkdtemp(join(tmpdir(), 'import-rules-'));
  try {
    await copyFile(join(root, '.oxlintrc.json'), join(dir, '.oxlintrc.json'));
    for (const [file, source] of seeds) {
      await mkdir(dirname(join(dir, file)), { recursive: true });
      await writeFile(join(dir, file), source);
    }
    const stdout = await new Promise<string>((resolve) => {
      execFile(join(root, 'node_modules/.bin/oxlint'), ['-f', 'json'], { cwd: dir }, (_, out) => resolve(out));
    });
    const report = JSON.parse(stdout) as { diagnostics: Diagnostic[]; number_of_files: number };
    expect(report.number_of_files).toBe(seeds.size);
    return report.diagnostics;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function found(file: string): readonly Diagnostic[] {
  return diagnostics.filter((d) => d.filename === file);
}

beforeAll(async () => {
  const seeds = new Map<string, string>();
  for (const [file, specifier] of [...forbidden, ...allowed]) seeds.set(file, `import '${specifier}';\n`);
  for (const [, file, source] of [...forms, ...impurities]) seeds.set(file, source);
  expect(seeds.size).toBe(forbidden.length + allowed.length + forms.length + impurities.length);
  diagnostics = await lint(seeds);
});

describe('lint', () => {
  it.each(forbidden)('refuses %s importing %s: %s', (file, _, rule) => {
    expect(found(file)).toContainEqual(
      expect.objectContaining({ code: 'eslint(no-restricted-imports)', help: expect.stringContaining(rule) }),
    );
  });

  it.each(allowed)('accepts %s importing %s', (file) => {
    expect(found(file)).toEqual([]);
  });

  it.each(forms)('refuses %s like an import', (_, file) => {
    expect(found(file).map((d) => d.code)).toContain('eslint(no-restricted-imports)');
  });

  it.each(impurities)('refuses %s in core', (_, file, _source, code) => {
    expect(found(file).map((d) => d.code)).toContain(code);
  });
});

describe('manifests', () => {
  it.each([
    ['protocol', []],
    ['client', ['protocol']],
    ['driver', ['protocol']],
    ['server', ['protocol']],
    ['cli', ['client', 'protocol', 'server']],
  ])('%s depends on no package but %s', async (name, may) => {
    const manifest = JSON.parse(await readFile(join(root, 'packages', name, 'package.json'), 'utf8')) as Record<
      string,
      Record<string, string>
    >;
    const own = ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies']
      .flatMap((kind) => Object.keys(manifest[kind] ?? {}))
      .filter((dependency) => dependency.startsWith('@conveyor/'));
    expect(may.map((m) => `@conveyor/${m}`)).toEqual(expect.arrayContaining(own));
  });
});
