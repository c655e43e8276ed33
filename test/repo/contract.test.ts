// Proves that `pnpm buf:breaking` notices an incompatible contract, by running it over a copy with a seeded break.
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
const fieldOne = /^(\s+(?:(?:optional|repeated) )?[\w.]+ )(\w+)( = )1( \[|;)/m;

let dir: string;

async function breaking(): Promise<{ code: number; output: string }> {
  const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const script = manifest.scripts['buf:breaking'];
  if (script === undefined) throw new Error('package.json has no script buf:breaking');
  const env = { ...process.env, PATH: join(root, 'node_modules/.bin') + delimiter + (process.env['PATH'] ?? '') };
  return new Promise((resolve) => {
    execFile('sh', ['-c', script], { cwd: dir, env }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, output: stdout + stderr }),
    );
  });
}

async function editFirstField(edit: (name: string) => { name: string; tag: number }): Promise<string> {
  const folder = join(dir, 'proto/conveyor/v1');
  for (const file of (await readdir(folder)).sort()) {
    const source = await readFile(join(folder, file), 'utf8');
    const changed = source.replace(fieldOne, (_, type: string, name: string, equals: string, end: string) => {
      const field = edit(name);
      return type + field.name + equals + String(field.tag) + end;
    });
    if (changed === source) continue;
    await writeFile(join(folder, file), changed);
    return `conveyor/v1/${file}`;
  }
  throw new Error('no file of the contract has a field numbered 1');
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'contract-'));
  await cp(join(root, 'proto'), join(dir, 'proto'), { recursive: true });
  await cp(join(root, 'buf.yaml'), join(dir, 'buf.yaml'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

it('accepts the contract as it is', async () => {
  expect(await breaking()).toEqual({ code: 0, output: '' });
});

it('refuses a renumbered field', async () => {
  const file = await editFirstField((name) => ({ name, tag: 999 }));
  const { code, output } = await breaking();
  expect(output).toContain(file);
  expect(output).toContain('Previously present field "1"');
  expect(code).toBe(100);
});

it('refuses a renamed field, since JSON carries names', async () => {
  const file = await editFirstField(() => ({ name: 'renamed_field', tag: 1 }));
  const { code, output } = await breaking();
  expect(output).toContain(file);
  expect(output).toContain('renamedField');
  expect(code).toBe(100);
});

it('refuses a contract that does not build', async () => {
  await writeFile(join(dir, 'proto/conveyor/v1/broken.proto'), 'message {');
  expect((await breaking()).code).not.toBe(0);
});
