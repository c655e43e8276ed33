// The tests that need neither a database nor other processes: what the demo runs.
import { defineConfig } from 'vitest/config';
import everything from '../../vitest.config.ts';

export default defineConfig({
  ...everything,
  test: {
    ...everything.test,
    include: ['packages/server/src/core/**/*.test.ts', 'packages/{client,driver,cli}/src/**/*.test.ts'],
    globalSetup: [],
  },
});
