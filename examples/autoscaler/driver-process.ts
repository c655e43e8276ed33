// A shell driver as a process of its own, on this machine. Elsewhere this would be a pod or a virtual machine.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Instance } from './autoscaler.ts';

const program = fileURLToPath(new URL('../shell/main.ts', import.meta.url));

/** @param env Where to connect and as whom, and what else the driver is told: see the shell driver. */
export function startShellDriver(env: NodeJS.ProcessEnv): Instance {
  // Detached: the Ctrl-C that stops the autoscaler is not for the driver, which is asked to end its work by SIGTERM.
  const child = spawn(process.execPath, ['--conditions=source', program], { env, stdio: 'inherit', detached: true });
  return {
    stop: () => void child.kill('SIGTERM'),
    ended: once(child, 'close').then(() => undefined),
  };
}
