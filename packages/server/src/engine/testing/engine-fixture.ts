// An engine over a test's database, started as a replica starts it.
import pino from 'pino';
import { DEFAULT_TIMING } from '../../core/limits.ts';
import { createPools, type Pools } from '../../store/connect.ts';
import type { DatabaseConfig } from '../../store/connection-options.ts';
import { createTestDatabase, type TestDatabase } from '../../store/testing/database.ts';
import { type RunningEngine, startEngine } from '../start-engine.ts';

type DatabaseLimits = Pick<DatabaseConfig, 'lockTimeoutMs' | 'statementTimeoutMs'>;

export interface EngineFixture extends AsyncDisposable {
  readonly engine: RunningEngine;
  readonly pools: Pools;
  readonly database: TestDatabase;
}

export async function openEngineFixture(limits: DatabaseLimits = {}): Promise<EngineFixture> {
  const database = await createTestDatabase();
  const pools = await createPools({ ...database.config, ...limits });
  const { schema } = database.config;
  const log = pino({ level: 'silent' });
  const engine = await startEngine({ pools, schema, version: 'test', timing: DEFAULT_TIMING, log });
  return {
    engine,
    pools,
    database,
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      await pools[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}
