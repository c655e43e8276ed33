import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const main = fileURLToPath(new URL('./main.ts', import.meta.url));

/** Starts the command in a Node that says it has this version. */
function startIn(version: string) {
  const pretend = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } })`;
  const args = [
    '--conditions=source',
    '--import',
    `data:text/javascript,${encodeURIComponent(pretend)}`,
    main,
    '--version',
  ];
  return spawnSync(process.execPath, args, { encoding: 'utf8' });
}

it.each(['20.20.2', '22.17.1'])('refuses Node %s and says which one it needs', (version) => {
  const { status, stdout, stderr } = startIn(version);
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  expect(stderr).toContain(`conveyor needs Node 22.18 or newer, and this is Node ${version}.`);
});

it.each(['22.18.0', '26.0.0'])('runs in Node %s', (version) => {
  expect(startIn(version)).toMatchObject({ status: 0, stdout: '0.1.0\n', stderr: '' });
});
