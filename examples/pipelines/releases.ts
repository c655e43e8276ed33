// A driver whose jobs number releases: they share a counter among the values of their run, and declare what they made.
import { createHash } from 'node:crypto';
import { defineDriver, RunValueError } from '@conveyor/driver';

/** Takes the next number of a counter. Who else has taken one meanwhile makes it try again. */
export const releases = defineDriver<{ name: string }>({
  name: 'releases',
  slots: 4,
  async run({ spec, values, output, artifact }) {
    for (;;) {
      const last = await values.get('release');
      const number = Number(last?.value ?? 0) + 1;
      try {
        await values.set('release', number, { expectedVersion: last?.version ?? 0 });
      } catch (error) {
        if (error instanceof RunValueError && error.reason === 'VERSION_MISMATCH') continue;
        throw error;
      }
      const content = `${spec.name} ${number}`;
      artifact({
        name: `${spec.name}.txt`,
        uri: `https://store.example.org/${spec.name}/${number}`,
        digest: `sha256:${createHash('sha256').update(content).digest('hex')}`,
        size: content.length,
        mediaType: 'text/plain',
      });
      output('number', number);
      return;
    }
  },
});
