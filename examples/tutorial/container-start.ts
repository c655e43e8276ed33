// The driver `container-start`: makes the container of a run, and says where it is.
import { mkdir } from 'node:fs/promises';
import { defineDriver, runDriver } from '@conveyor/driver';
import { containerOf } from './containers.ts';

export const containerStart = defineDriver({
  name: 'container-start',
  slots: 4,
  specSchema: { type: 'object', additionalProperties: false },
  async run({ job, log, output }) {
    const workspace = containerOf(job.runId);
    await mkdir(workspace, { recursive: true });
    await log(`started ${workspace}\n`);
    output('workspace', workspace);
  },
});

if (import.meta.main) await runDriver(containerStart);
