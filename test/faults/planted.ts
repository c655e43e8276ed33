// Plants a run of another project: the rows of a finished run under another id and another project, with a nonce in its texts.
import { randomBytes, randomUUID } from 'node:crypto';
import type { System } from '../e2e/system.ts';
import type { Planted } from './checker/evidence.ts';

export function newSecret(): string {
  return `secret-${randomBytes(16).toString('hex')}`;
}

export async function plantForeignRun(system: System, finishedRunId: string, secret: string): Promise<Planted> {
  const foreign = `foreign-${randomBytes(16).toString('hex')}`;
  const foreignRunId = randomUUID();
  const changes = {
    runs: { labels: { owner: foreign }, trigger: { kind: 'manual', actor: foreign, reference: foreign } },
    jobs: {},
    attempts: {},
    events: {},
    log_chunks: {},
  };
  for (const [table, change] of Object.entries(changes)) {
    await system.query(
      `insert into ${table} select (jsonb_populate_record(t, $2)).* from ${table} t where run_id = $1`,
      [finishedRunId, JSON.stringify({ run_id: foreignRunId, project: foreign, ...change })],
    );
  }
  return { secret, foreign, foreignRunId };
}
