// Proves that the lint rules that need types are on, by seeding what they exist to refuse.
import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');

const seeds = {
  'no-floating-promises': 'Promise.resolve(1);\n',
  'no-misused-promises':
    'export const a = [1].filter(async () => Promise.resolve(true));\nif (Promise.resolve(1)) a.pop();\n',
  'no-explicit-any': 'export const a: any = 1;\n',
  'switch-exhaustiveness-check':
    "export function a(b: 'x' | 'y'): number {\n  switch (b) {\n    case 'x':\n      return 1;\n  }\n  return 2;\n}\n",
};

let found: readonly { code: string; filename: string }[];

beforeAll(async () => {
  const dir = await mkdtemp(join(tmpdir(), 'type-rules-'));
  try {
    await copyFile(join(root, '.oxlintrc.json'), join(dir, '.oxlintrc.json'));
    await copyFile(join(root, 'tsconfig.base.json'), join(dir, 'tsconfig.json'));
    await symlink(join(root, 'node_modules'), join(dir, 'node_modules'));
    for (const [rule, source] of Object.entries(seeds)) await writeFile(join(dir, `${rule}.ts`), source);
    const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { scripts: { lint: string } };
    const env = { ...process.env, PATH: join(root, 'node_modules/.bin') + delimiter + (process.env['PATH'] ?? '') };
    const stdout = await new Promise<string>((resolve) => {
      execFile('sh', ['-c', `${manifest.scripts.lint} -f json`], { cwd: dir, env }, (_, out) => resolve(out));
    });
    found = (JSON.parse(stdout) as { diagnostics: { code: string; filename: string }[] }).diagnostics;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

it.each(Object.keys(seeds))('lint refuses what %s is for', (rule) => {
  expect(found).toContainEqual(expect.objectContaining({ code: `typescript(${rule})`, filename: `${rule}.ts` }));
});
