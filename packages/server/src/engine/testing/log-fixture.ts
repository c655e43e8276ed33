// Owns what writes and reads logs over a test's database, with attempts that the ledger has started.
import { randomUUID } from 'node:crypto';
import { crc32c } from '@node-rs/crc32';
import { type AttemptKey, formatAttemptId } from '../../core/ids.ts';
import { definitionOf, jobNamed } from '../../core/testing/definitions.ts';
import type { LogPart } from '../../core/views.ts';
import { createPools, type Pools } from '../../store/connect.ts';
import type { DatabaseConfig } from '../../store/connection-options.ts';
import { ensureLogPartitions } from '../../store/log-partitions.ts';
import type { TestDatabase } from '../../store/testing/database.ts';
import { withConnection } from '../../store/pool.ts';
import type { JobOperations } from '../engine.ts';
import { createLogReader } from '../log-reader.ts';
import { createLogWriter, type LogEntry, type LogResult, type LogWriter } from '../log-writer.ts';
import { createPlans } from '../plans.ts';
import type { LedgerReply, Writer } from '../run-work.ts';
import { createWakeUps } from '../wake-ups.ts';
import { finishWell, type LedgerFixture, openLedgerFixture } from './ledger-fixture.ts';

/** Room for what tests write, and little enough to fill. */
export const MAX_LOG_BYTES = 16 * 2 ** 20;

export interface LogFixture extends AsyncDisposable {
  readonly ledger: LedgerFixture;
  readonly pools: Pools;
  /** The session that holds every attempt. */
  readonly writer: Writer;
  readonly logWriter: LogWriter;
  readonly reader: Pick<JobOperations, 'readLog' | 'tailLog'>;
  /** Another replica: hears of nothing that is written here. */
  readonly elsewhere: Pick<JobOperations, 'readLog' | 'tailLog'>;
  /** A new run of one job, whose attempts may fail often; nothing has run yet. */
  create(): Promise<AttemptKey>;
  offer(key: AttemptKey): Promise<void>;
  /** Has an attempt offered and started. */
  start(key: AttemptKey): Promise<AttemptKey>;
  /** Opens the next session of the instance. */
  takeOver(): Promise<Writer>;
  write(entry: LogEntry, writer?: Writer): Promise<LogResult>;
  /** The driver reports an outcome, with what it believes to have written. */
  finish(key: AttemptKey, log: Uint8Array, outcome?: 'SUCCEEDED' | 'FAILED'): Promise<LedgerReply>;
}

/** @param logs Where the log writer finds the database. Default: where everything does. */
export async function openLogFixture(
  database: TestDatabase,
  logs: DatabaseConfig = database.config,
): Promise<LogFixture> {
  const pools = await createPools(database.config);
  const writerPools = await createPools({ ...logs, poolSize: 1 });
  await withConnection(pools.pool, ensureLogPartitions);
  const ledger = await openLedgerFixture(database);
  const { plans, wakeUps } = ledger;
  const logWriter = createLogWriter({
    lane: writerPools.openLane('logs'),
    maxLogBytes: MAX_LOG_BYTES,
    onGrown: ({ runId, job }) => wakeUps.ring(`log:${runId}.${job}`),
  });
  const instance = randomUUID();
  const no = await ledger.connect('shell', instance);
  const retry = { ...jobNamed('work').retry, initialBackoffMs: 0, jitter: 0 };
  const definition = definitionOf(
    jobNamed('work', { retry: { ...retry, budgets: { ...retry.budgets, WORKLOAD: 5 } } }),
  );

  async function submit(key: AttemptKey, command: Parameters<LedgerFixture['submit']>[1]): Promise<LedgerReply> {
    const reply = await ledger.submit(key.runId, command);
    wakeUps.ring(`log:${key.runId}.${key.job}`);
    return reply;
  }

  async function offer({ job, ...key }: AttemptKey): Promise<void> {
    const reply = await submit({ job, ...key }, { type: 'Offer', job, instance: no, instanceId: instance });
    if (reply.type !== 'Done') throw new Error(`an offer was answered by ${reply.type}`);
  }

  return {
    ledger,
    pools,
    writer: { instance: no, epoch: 1 },
    logWriter,
    reader: createLogReader({ pool: pools.pool, plans, wakeUps }),
    elsewhere: createLogReader({ pool: pools.pool, plans: createPlans(), wakeUps: createWakeUps() }),
    offer,
    async create() {
      return { runId: await ledger.create(definition), job: 0, attempt: 1 };
    },
    async start(key) {
      await offer(key);
      const reply = await submit(key, { type: 'Accept', job: key.job, attempt: key.attempt, instance: no });
      if (reply.type !== 'Done') throw new Error(`an accept was answered by ${reply.type}`);
      return key;
    },
    async takeOver() {
      return { instance: await ledger.connect('shell', instance), epoch: 2 };
    },
    write(entry, writer = { instance: no, epoch: 1 }) {
      return new Promise((resolve) => logWriter.write(writer, entry, resolve));
    },
    finish(key, log, outcome = 'SUCCEEDED') {
      const finish = { ...finishWell(key.job, key.attempt), instance: no, outcome };
      return submit(key, { ...finish, logSize: log.length, logCrc32c: crc32c(log) });
    },
    async [Symbol.asyncDispose]() {
      await logWriter[Symbol.asyncDispose]();
      await ledger[Symbol.asyncDispose]();
      await writerPools[Symbol.asyncDispose]();
      await pools[Symbol.asyncDispose]();
    },
  };
}

/** A frame of log bytes on standard output. */
export function logFrame(
  key: AttemptKey,
  offset: number,
  data: Uint8Array | string,
): Extract<LogEntry, { type: 'Log' }> {
  return { type: 'Log', key, offset, channel: 'STDOUT', unixMs: 1_700_000_000_000, data: Buffer.from(data) };
}

/** The bytes of parts, which must follow one another without a gap or a repeat. */
export function joinParts(parts: readonly LogPart[], from: number): Buffer {
  let offset = from;
  const pieces: Uint8Array[] = [];
  for (const { chunks, nextOffset, attempt } of parts) {
    for (const chunk of chunks) {
      const covered = chunk.spans.reduce((sum, span) => sum + span.length, 0);
      if (chunk.offset !== offset || chunk.data.length === 0 || covered !== chunk.data.length) {
        throw new Error(`a chunk at ${chunk.offset} of attempt ${attempt} where ${offset} was next`);
      }
      pieces.push(chunk.data);
      offset += chunk.data.length;
    }
    if (nextOffset !== offset) throw new Error(`a part says ${nextOffset} and ends at ${offset}`);
  }
  return Buffer.concat(pieces);
}

/** Everything that is stored of a log, read part by part. */
export async function readAll(
  { reader }: Pick<LogFixture, 'reader'>,
  key: AttemptKey,
  { from = 0, partBytes = 100_000 } = {},
): Promise<Buffer> {
  const parts: LogPart[] = [];
  for (let offset = from; ; ) {
    const part = await reader.readLog('default', key, key.attempt, offset, partBytes);
    parts.push(part);
    if (part.nextOffset >= part.logSize) return joinParts(parts, from);
    if (part.nextOffset === offset) throw new Error(`nothing was read of ${formatAttemptId(key)} from ${offset} on`);
    offset = part.nextOffset;
  }
}
