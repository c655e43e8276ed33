// The process of a shell driver. SHELL_SLOTS says how many jobs it runs at a time (default 2), SHELL_WORKSPACES where
// (default: a directory of the user below the system's temporary one).
import { tmpdir, userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import { runDriver } from '@conveyor/driver';
import { createShellDriver } from './shell-driver.ts';

const { SHELL_SLOTS: slots = '2', SHELL_WORKSPACES: root = join(tmpdir(), `conveyor-shell-${userInfo().username}`) } =
  process.env;

await runDriver(createShellDriver({ root: resolve(root), slots: Number(slots) }));
