// All that the checker judges: what clients and drivers wrote down, what the servers printed and used, and every row that is left.
import type { PoolClient } from 'pg';
import type { Definition } from '../../../packages/server/src/core/definition.ts';
import type { JournalEntry } from '../drivers/journal.ts';
import type { History } from '../load/history.ts';

export interface RunRow {
  readonly run_id: string;
  readonly project: string;
  readonly state: string;
  readonly seq: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly rerun_of: string | null;
  readonly definition: Definition;
}

export interface EventRow {
  readonly run_id: string;
  readonly seq: number;
  readonly time_ms: number;
  readonly type: string;
  readonly run_state: string;
  readonly job: number | null;
  readonly job_state: string | null;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface AttemptRow {
  /** As drivers name it. */
  readonly id: string;
  readonly run_id: string;
  readonly job: number;
  readonly attempt: number;
  readonly instance: string;
  readonly slots: number;
  /** What its instance publishes. */
  readonly labels: Readonly<Record<string, string>>;
  readonly pools: Readonly<Record<string, number>>;
  readonly state: string;
  readonly has_result: boolean;
  readonly log_size: number;
  readonly log_state: string;
}

/** Of the project that all clients and drivers are in. */
export interface Rows {
  readonly runs: ReadonlyMap<string, RunRow>;
  /** By run, in order of `seq`. */
  readonly events: ReadonlyMap<string, readonly EventRow[]>;
  readonly attempts: ReadonlyMap<string, AttemptRow>;
  /** The stored bytes of each attempt that has any. */
  readonly logs: ReadonlyMap<string, Buffer>;
}

/** What was put where nobody may see it. */
export interface Planted {
  /** The value of a secret that jobs ask for. */
  readonly secret: string;
  /** In every text of a run of another project. */
  readonly foreign: string;
  readonly foreignRunId: string;
}

/** The memory of one server process over its life. */
export interface MemoryUse {
  readonly server: string;
  readonly firstBytes: number;
  readonly mostBytes: number;
}

export interface Evidence {
  readonly history: History;
  readonly journal: readonly JournalEntry[];
  readonly rows: Rows;
  readonly planted: Planted;
  /** What the server processes printed. */
  readonly printed: string;
  readonly memory: readonly MemoryUse[];
  readonly database: PoolClient;
}

/** Finds what contradicts one promise; each complaint tells enough to look into it. */
export type Check = (evidence: Evidence) => string[] | Promise<string[]>;

/** The project of all clients and drivers. */
const project = 'default';

export async function readRows(database: PoolClient): Promise<Rows> {
  const runs = await database.query<RunRow>(
    `select run_id, project, state, seq, labels, rerun_of, body as definition from runs join definitions using (digest)
     where project = $1`,
    [project],
  );
  const events = await database.query<EventRow>(
    'select run_id, seq, time_ms, type, run_state, job, job_state, data from events where project = $1 order by run_id, seq',
    [project],
  );
  const attempts = await database.query<AttemptRow>(
    `select run_id || '.' || job || '.' || attempt as id, run_id, job, attempt, instance, slots, i.labels, pools, state,
       result is not null as has_result, log_size, log_state from attempts join instances i on no = instance_no where project = $1`,
    [project],
  );
  const chunks = await database.query<{ id: string; data: Buffer }>(
    `select run_id || '.' || job || '.' || attempt as id, data from log_chunks order by run_id, job, attempt, start_offset`,
  );
  const logs = [...Map.groupBy(chunks.rows, ({ id }) => id)].map(
    ([id, rows]) => [id, Buffer.concat(rows.map(({ data }) => data))] as const,
  );
  return {
    runs: new Map(runs.rows.map((row) => [row.run_id, row])),
    events: Map.groupBy(events.rows, (row) => row.run_id),
    attempts: new Map(attempts.rows.map((row) => [row.id, row])),
    logs: new Map(logs),
  };
}
