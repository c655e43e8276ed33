// Owns two running engines over one database, each with connections of its own, and a look at what is stored.
import { Client } from 'pg';
import { pino } from 'pino';
import { DEFAULT_TIMING } from '../src/core/limits.ts';
import { createPools, type Pools } from '../src/store/connect.ts';
import { connectionOptions } from '../src/store/connection-options.ts';
import { createTestDatabase } from '../src/store/testing/database.ts';
import { type EngineOptions, type RunningEngine, startEngine } from '../src/engine/start-engine.ts';

export interface TwoEngines extends AsyncDisposable {
  readonly engines: readonly [RunningEngine, RunningEngine];
  readonly pools: readonly [Pools, Pools];
  readonly sql: Client;
  /** Starts one more over the same database. */
  startAnother(): Promise<RunningEngine>;
}

export async function startTwoEngines(change: Partial<EngineOptions> = {}): Promise<TwoEngines> {
  await using stack = new AsyncDisposableStack();
  const { config } = stack.use(await createTestDatabase());
  const pools = [stack.use(await createPools(config)), stack.use(await createPools(config))] as const;
  const options = {
    schema: config.schema,
    version: 'test',
    timing: DEFAULT_TIMING,
    log: pino({ level: 'silent' }),
    ...change,
  };
  const engines = [
    stack.use(await startEngine({ ...options, pools: pools[0] })),
    stack.use(await startEngine({ ...options, pools: pools[1] })),
  ] as const;
  const sql = new Client(connectionOptions(config, 'test'));
  await sql.connect();
  stack.defer(() => sql.end());
  const moved = stack.move();
  return {
    engines,
    pools,
    sql,
    async startAnother() {
      const own = moved.use(await createPools(config));
      return moved.use(await startEngine({ ...options, pools: own }));
    },
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}
