import { readFileSync } from 'node:fs';
import { pipeline } from '@conveyor/client';
import { describe, expect, it } from 'vitest';
import { parsePipeline } from './pipeline-file.ts';
import { run } from './testing/run-command.ts';

const page = readFileSync(new URL('../../../docs/cli.md', import.meta.url), 'utf8');

/** The section about a command, from its heading to the next. */
function sectionOf(command: string): string {
  return new RegExp(`^## conveyor ${command}$(.*?)^## `, 'ms').exec(page)?.[1] ?? '';
}

/** Commands and options, as the help of a command lists them. */
async function help(...command: string[]): Promise<{ commands: string[]; options: string[] }> {
  const { exitCode, stdout } = await run([...command, '--help'], {});
  expect(exitCode).toBe(0);
  const [, listed = ''] = /^Commands:\n((?: {2}.*\n)*)/m.exec(stdout) ?? [];
  const commands = Array.from(listed.matchAll(/^ {2}(\w+)/gm), ([, name = '']) => name).filter(
    (name) => name !== 'help',
  );
  const [, flags = ''] = /^Options:\n((?: {2}.*\n)*)/m.exec(stdout) ?? [];
  const options = Array.from(flags.matchAll(/(--[\w-]+)/g), ([, flag = '']) => flag).filter(
    (flag) => flag !== '--help',
  );
  return { commands, options };
}

const { commands } = await help();

describe('docs/cli.md', () => {
  it('has a section for every command and no other', () => {
    const headings = Array.from(page.matchAll(/^## conveyor (\w+)$/gm), ([, name]) => name);
    expect(new Set(headings)).toEqual(new Set(commands));
  });

  it.each(commands)('names every option of %s and no other, with an example', async (command) => {
    const section = sectionOf(command);
    const { commands: kinds, options } = await help(command);
    const nested = await Promise.all(kinds.map((kind) => help(command, kind)));
    const known = new Set([...options, ...nested.flatMap((each) => each.options)]);
    const named = new Set(Array.from(section.matchAll(/`(?:-\w`, `)?(--[\w-]+)/g), ([, flag]) => flag));
    named.delete('--version');
    expect(named).toEqual(known);
    for (const kind of kinds) expect(section).toContain(`conveyor ${command} ${kind}`);
    expect(section).toMatch(/```sh\n(?:.* )?conveyor /);
  });

  it('shows a pipeline that is one', () => {
    const [, yaml = ''] = /```yaml\n(.*?)```/s.exec(page) ?? [];
    const built = pipeline('ci', {
      labels: { team: 'core' },
      paramsSchema: { type: 'object', properties: { sha: { type: 'string', default: 'HEAD' } } },
    })
      .job('build', {
        driver: 'shell',
        spec: { commands: ['make'] },
        retry: { infrastructure: 5, initialBackoff: '2s' },
        timeouts: { runTimeout: '10m' },
      })
      .job('test', { driver: 'shell', spec: { commands: ['make test'] }, needs: ['build'], allowFailure: true })
      .job('clean', { driver: 'shell', spec: { commands: ['make clean'] }, needs: ['build', 'test'], when: 'always' });
    expect(parsePipeline(yaml, 'ci.yaml')).toMatchObject({ name: built.name, definition: built.definition });
  });
});
