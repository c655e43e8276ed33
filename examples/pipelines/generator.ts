// A driver whose jobs look at what there is to do, and append a job for each thing to their own run.
import { defineDriver } from '@conveyor/driver';

/** Appends one shell job for each service that changed, and one behind all of them. */
export const generator = defineDriver<{ services: string[] }>({
  name: 'generator',
  slots: 2,
  async run({ spec, append }) {
    const builds = spec.services.map((service) => ({
      name: `build-${service}`,
      driver: 'shell',
      spec: { commands: [`echo "built ${service}"`] },
    }));
    const publish = {
      name: 'publish',
      driver: 'shell',
      needs: builds.map(({ name }) => name),
      spec: { commands: ['echo publishing'] },
    };
    await append([...builds, publish]);
  },
});
