// An engine over a test's database, started as a replica starts it.
import pino from 'pino';
import { DEFAULT_TIMING } from '../../core/limits.ts';
import { createPools, type Pools } from '../../store/connect.ts';
import type { DatabaseConfig } from '../../store/connection-options.ts';
import { createTestDatabase, type TestDatabase } from '../../store/testing/database.ts';
import { type RunningEngine, startEngine } from '../start-engine.ts';

type DatabaseLimits = Pick<DatabaseConfig, 'lockTimeoutMs' | 'statementTimeoutMs'>;

export interface EngineReplica extends AsyncDisposable {
  readonly engine: RunningEngine;
  readonly pools: Pools;
}

export interface EngineFixture extends EngineReplica {
  readonly database: TestDatabase;
  /** Another replica over the same database; to be disposed of before the fixture. */
  startAnother(): Promise<EngineReplica>;
}

export async function openEngineFixture(limits: DatabaseLimits = {}): Promise<EngineFixture> {
  const database = await createTestDatabase();
  const config = { ...database.config, ...limits };
  const first = await startReplica(config);
  return {
    ...first,
    database,
    startAnother: () => startReplica(config),
    async [Symbol.asyncDispose]() {
      await first[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

async function startReplica(config: DatabaseConfig): Promise<EngineReplica> {
  const pools = await createPools(config);
  const log = pino({ level: 'silent' });
  const engine = await startEngine({ pools, schema: config.schema, version: 'test', timing: DEFAULT_TIMING, log });
  return {
    engine,
    pools,
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      await pools[Symbol.asyncDispose]();
    },
  };
}
