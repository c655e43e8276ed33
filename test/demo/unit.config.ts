// The tests that need no database, no other process and little time: what the demo runs.
import { defineConfig } from 'vitest/config';
import everything from '../../vitest.config.ts';

export default defineConfig({
  ...everything,
  test: {
    ...everything.test,
    include: ['packages/server/src/core/**/*.test.ts', 'packages/{client,driver,cli}/src/**/*.test.ts'],
    exclude: [...(everything.test?.exclude ?? []), '**/ledger-properties.test.ts'],
    globalSetup: [],
  },
});
