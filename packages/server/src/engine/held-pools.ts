// Which pools of slots the attempts take that an instance goes on with: its new session counts them as taken.
import type { Hello, Verdict } from '../core/frames.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import type { Plans } from './plans.ts';
import { loadContexts } from './run-context.ts';
import type { SessionFacts } from './session.ts';

/** Whoever publishes no pools holds no slot of one. */
export async function keptWithPools(
  { pool, plans }: { readonly pool: Pool; readonly plans: Plans },
  { pools }: Pick<Hello, 'pools'>,
  verdicts: readonly Verdict[],
): Promise<SessionFacts['held']> {
  const keys = verdicts.filter(({ kind }) => kind === 'START' || kind === 'KEEP').map(({ key }) => key);
  if (keys.length === 0 || Object.keys(pools).length === 0) return keys.map((key) => ({ key, pool: undefined }));
  const runIds = [...new Set(keys.map(({ runId }) => runId))];
  const runs = await withConnection(pool, (tx) => loadContexts(tx, plans, runIds));
  return keys.map((key) => ({ key, pool: runs.get(key.runId)?.plan.jobs[key.job]?.definition.pool }));
}
