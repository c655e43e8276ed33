// What the demo runs: tests that need no database, no socket, no other process and little time.
import { defineConfig } from 'vitest/config';
import everything from '../../vitest.config.ts';

export default defineConfig({
  ...everything,
  test: {
    ...everything.test,
    include: [
      'packages/server/src/core/**/*.test.ts',
      'packages/client/src/pipeline-builder.test.ts',
      'packages/driver/src/{crc32c,log-spool}.test.ts',
      'packages/cli/src/{log-lines,params,pipeline-file,text}.test.ts',
    ],
    exclude: [...(everything.test?.exclude ?? []), '**/{ledger,network,groups}-properties.test.ts'],
    globalSetup: [],
  },
});
