// The driver `container-stop`: removes the container of a run, whatever became of the jobs before it.
import { rm } from 'node:fs/promises';
import { defineDriver, runDriver } from '@conveyor/driver';
import { containerOf } from './containers.ts';

export const containerStop = defineDriver({
  name: 'container-stop',
  slots: 4,
  specSchema: { type: 'object', additionalProperties: false },
  async run({ job, needs, log }) {
    for (const [name, { state }] of Object.entries(needs)) await log(`${name}: ${state}\n`);
    const container = needs['container-start']?.outputs['workspace'];
    if (container === undefined) {
      await log('no container was started\n');
      return;
    }
    // Never a directory that somebody else named.
    await rm(containerOf(job.runId), { recursive: true, force: true });
    await log(`stopped ${JSON.stringify(container)}\n`);
  },
});

if (import.meta.main) await runDriver(containerStop);
