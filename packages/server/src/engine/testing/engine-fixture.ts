// An engine over a test's database, started as a replica starts it.
import pino from 'pino';
import { DEFAULT_TIMING } from '../../core/limits.ts';
import { createPools, type Pools } from '../../store/connect.ts';
import { createTestDatabase } from '../../store/testing/database.ts';
import { type RunningEngine, startEngine } from '../start-engine.ts';

export interface EngineFixture extends AsyncDisposable {
  readonly engine: RunningEngine;
  readonly pools: Pools;
}

export async function openEngineFixture(): Promise<EngineFixture> {
  const database = await createTestDatabase();
  const pools = await createPools(database.config);
  const { schema } = database.config;
  const log = pino({ level: 'silent' });
  const engine = await startEngine({ pools, schema, version: 'test', timing: DEFAULT_TIMING, log });
  return {
    engine,
    pools,
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      await pools[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}
