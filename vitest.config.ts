import { defineConfig } from 'vitest/config';

// Tests read the sources of every package, so nothing has to be built before they run.
const conditions = ['source', 'module', 'node', 'development|production'];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: [
      'packages/*/src/**/*.test.ts',
      'packages/*/test/**/*.test.ts',
      'examples/**/*.test.ts',
      'test/**/*.test.ts',
    ],
    exclude: ['**/node_modules/**', '**/dist/**', 'test/interop/**', 'test/bench/**'],
    globalSetup: ['packages/server/src/store/testing/global-setup.ts'],
    pool: 'forks',
    execArgv: ['--conditions=source'],
    // Many of them wait, for a lease to run out or for a process to start.
    maxWorkers: 3,
    testTimeout: 30_000,
    // How long a test waits for what it expects to come true.
    expect: { poll: { timeout: 15_000, interval: 20 } },
    hookTimeout: 60_000,
  },
});
