// Hello: commits that this session speaks for its instance from now on, and settles who holds what before anything else is said.
import { createHash, randomUUID } from 'node:crypto';
import type { Command } from '../core/commands.ts';
import type { Hello, HeldAttempt, Orphan, Verdict, Welcome } from '../core/frames.ts';
import { type AttemptKey, formatAttemptId, formatJobId } from '../core/ids.ts';
import { canonicalJson } from '../core/json.ts';
import { LIMITS, type Timing } from '../core/limits.ts';
import type { Refusal } from '../core/refusal.ts';
import { type AttemptStateRow, attemptStates, type LiveAttemptRow, liveAttempts } from '../store/attempt-rows.ts';
import { grantLease, insertSpecSchema, lockInstance, takeOver } from '../store/instance-rows.ts';
import { readClock } from '../store/ledger-rows.ts';
import { type Pool, withConnection, withTransaction } from '../store/pool.ts';
import type { Tx } from '../store/sql.ts';
import type { Principal } from './engine.ts';
import type { Ledger } from './ledger.ts';
import { BEGINNING, CannotStart, type ComposeStart, composeOffer, type StartPoint } from './offers.ts';
import type { Plans } from './plans.ts';
import { detailsOf, loadContexts } from './run-context.ts';
import type { Writer } from './run-work.ts';
import type { SessionFacts } from './session.ts';
import { keptWithPools } from './held-pools.ts';
import type { AcceptsSpec, SpecSchemas } from './spec-schemas.ts';

export interface TakeoverOptions {
  readonly pool: Pool;
  readonly plans: Plans;
  readonly ledger: Ledger;
  readonly composeStart: ComposeStart;
  readonly schemas: SpecSchemas;
  readonly replica: string;
  readonly timing: Timing;
  /** The largest log of an attempt, in bytes. */
  readonly maxLogBytes: number;
  /** What drivers may use now. */
  readonly capabilities: () => readonly string[];
}

export interface Takeover {
  readonly facts: SessionFacts;
  readonly welcome: Welcome;
  /** Attempts that the instance gave up by not naming them. */
  readonly givenUp: readonly LiveAttemptRow[];
}

/** Of the outputs and secrets that a Welcome carries; what else is in it needs less than as much again. */
const STARTS_BYTES = LIMITS.responseBytes / 2;

interface Committed {
  readonly writer: Writer;
  readonly draining: boolean;
  readonly sameProcess: boolean;
  readonly nowMs: number;
  readonly live: readonly LiveAttemptRow[];
  readonly ended: readonly AttemptStateRow[];
}

export async function takeOverInstance(
  options: TakeoverOptions,
  principal: Principal,
  hello: Hello,
): Promise<Takeover | Refusal> {
  if (principal.driverNames?.includes(hello.driver) === false) return forbidsName(principal, hello);
  const schemaDigest = hello.specSchema === undefined ? undefined : sha256(canonicalJson(hello.specSchema));
  const accepts = acceptsOf(options.schemas, hello, schemaDigest);
  if (typeof accepts !== 'function') return accepts;
  const committed = await withTransaction(options.pool, (tx) =>
    commitTakeover(tx, options, principal, hello, schemaDigest),
  );
  if ('refused' in committed) return committed;
  const { writer, live, ended, sameProcess, nowMs } = committed;
  const liveById = new Map(live.map((row) => [formatAttemptId(row.key), row]));
  const endedById = new Map(ended.map((row) => [formatAttemptId(row.key), row]));
  const judged = await Promise.all(
    hello.held.map((attempt) => {
      const id = formatAttemptId(attempt.key);
      return judge(options, writer, attempt, nowMs, liveById.get(id), endedById.get(id));
    }),
  );
  const verdicts = await fitStarts(options, writer, judged);
  const named = new Set(hello.held.map(({ key }) => formatAttemptId(key)));
  const unnamed = live.filter(({ key }) => !named.has(formatAttemptId(key)));
  const isOrphan = (row: LiveAttemptRow): boolean => !sameProcess && row.state === 'RUNNING';
  const orphans = await orphansOf(options, unnamed.filter(isOrphan), nowMs);
  const sessionId = randomUUID();
  return {
    facts: {
      sessionId,
      writer,
      driver: hello.driver,
      instance: hello.instance,
      slots: hello.slots,
      offers: { labels: hello.labels, pools: hello.pools },
      draining: committed.draining,
      schemaDigest: schemaDigest?.toString('hex'),
      accepts,
      held: await keptWithPools(options, hello, verdicts),
      orphans,
    },
    welcome: {
      sessionId,
      epoch: writer.epoch,
      ...options.timing,
      attemptLogWindow: LIMITS.attemptLogWindow,
      sessionLogWindow: LIMITS.sessionLogWindow,
      maxMessageBytes: LIMITS.requestBytes,
      maxLogBytes: options.maxLogBytes,
      capabilities: options.capabilities(),
      verdicts,
      orphans,
    },
    givenUp: unnamed.filter((row) => !isOrphan(row)),
  };
}

async function commitTakeover(
  tx: Tx,
  { replica, timing }: TakeoverOptions,
  principal: Principal,
  hello: Hello,
  schemaDigest: Buffer | undefined,
): Promise<Committed | Refusal> {
  const before = await lockInstance(tx, hello.driver, hello.instance);
  const nowMs = await readClock(tx);
  // An instance whose lease has ended belongs to nobody: tokens may be replaced.
  if (before !== undefined && before.owner !== principal.id && before.expiresMs !== undefined) {
    return belongsToOther(hello);
  }
  const incarnation = sha256(hello.incarnation);
  const { no, epoch, draining } = await takeOver(tx, {
    driver: hello.driver,
    instance: hello.instance,
    owner: principal.id,
    incarnation,
    replica,
    labels: hello.labels,
    slots: hello.slots,
    pools: hello.pools,
    version: hello.version,
    schemaDigest,
    nowMs,
  });
  await grantLease(tx, no, epoch, nowMs, timing.leaseMs);
  if (hello.specSchema !== undefined && schemaDigest !== undefined) {
    await insertSpecSchema(tx, hello.driver, schemaDigest, hello.specSchema, nowMs);
  }
  const live = before === undefined ? [] : await liveAttempts(tx, [no]);
  const named = hello.held.map(({ key }) => key);
  const states = named.length === 0 ? [] : await attemptStates(tx, named);
  return {
    writer: { instance: no, epoch },
    draining,
    sameProcess: before !== undefined && Buffer.compare(before.incarnation, incarnation) === 0,
    nowMs,
    live,
    ended: states.filter((row) => row.instance === no && row.state !== 'OFFERED' && row.state !== 'RUNNING'),
  };
}

async function judge(
  options: TakeoverOptions,
  writer: Writer,
  { key, phase }: HeldAttempt,
  nowMs: number,
  live: LiveAttemptRow | undefined,
  ended: AttemptStateRow | undefined,
): Promise<Verdict> {
  if (live === undefined) {
    return ended?.hasResult === true ? { kind: 'FINISHED', key, logState: ended.logState } : { kind: 'STOP', key };
  }
  if (live.state === 'RUNNING' && phase !== 'ACCEPTED') return keep(live);
  // Its Accept may have been lost on the way: it is repeated here, and whichever committed first stands.
  const { reply, run } = await options.ledger.submit(
    key.runId,
    { type: 'Accept', job: key.job, attempt: key.attempt, instance: writer.instance },
    { writer },
  );
  if (reply.type !== 'Done' || run === undefined) return { kind: 'STOP', key };
  try {
    const start = await options.composeStart(run, key, startPointOf(live, nowMs));
    return { kind: 'START', key, start };
  } catch (error) {
    if (!(error instanceof CannotStart)) throw error;
    const message = `the job cannot start: ${error.message}`;
    await options.ledger.submit(key.runId, loseCommand(key, writer, 'INVALID', message), { writer });
    return { kind: 'STOP', key };
  }
}

/** Stops what the one message of a Welcome has no room to start: it is tried again. */
async function fitStarts(
  { ledger }: TakeoverOptions,
  writer: Writer,
  verdicts: readonly Verdict[],
): Promise<readonly Verdict[]> {
  let room = STARTS_BYTES;
  const message = 'too much is to be started at once to tell its driver';
  return await Promise.all(
    verdicts.map(async (verdict): Promise<Verdict> => {
      if (verdict.kind !== 'START') return verdict;
      const { key, start } = verdict;
      const bytes = JSON.stringify([start.needs, start.secrets]).length;
      if (bytes <= room) {
        room -= bytes;
        return verdict;
      }
      await ledger.submit(key.runId, loseCommand(key, writer, 'INFRASTRUCTURE', message), { writer });
      return { kind: 'STOP', key };
    }),
  );
}

/**
 * Where an attempt starts whose Start this process never got. The process has said nothing of it then, so whatever is noted of it is
 * an earlier one's: it is an orphan that was adopted.
 */
function startPointOf(live: LiveAttemptRow, nowMs: number): StartPoint {
  const { startedMs, logSize, logCrc32c, checkpoint, annotations, valueNumber, artifacts } = live;
  const ranMs = startedMs === undefined ? 0 : nowMs - startedMs;
  const isNew = logSize === 0 && checkpoint.length === 0 && annotations === 0 && valueNumber === 0 && artifacts === 0;
  if (isNew) return { ...BEGINNING, ranMs };
  return { ranMs, resumed: true, logOffset: logSize, logCrc32c, annotations, valueNumber, artifacts };
}

/** The command that ends an attempt whose driver is gone, or that cannot go on. */
export function loseCommand(
  key: AttemptKey,
  { instance }: Pick<Writer, 'instance'>,
  failureClass: 'INFRASTRUCTURE' | 'INVALID',
  message: string,
): Command {
  const { job, attempt } = key;
  return { type: 'Lose', job, attempt, instance, failureClass, message, random: Math.random(), content: undefined };
}

function keep({ key, logSize, stop }: LiveAttemptRow): Verdict {
  return { kind: 'KEEP', key, logOffset: logSize, ...(stop !== undefined && { cancel: stop.phase }) };
}

async function orphansOf(
  { pool, plans }: TakeoverOptions,
  rows: readonly LiveAttemptRow[],
  nowMs: number,
): Promise<Orphan[]> {
  if (rows.length === 0) return [];
  const { runs, details } = await withConnection(pool, async (tx) => {
    const runs = await loadContexts(tx, plans, [...new Set(rows.map(({ key }) => key.runId))]);
    return {
      runs,
      details: await detailsOf(
        tx,
        runs,
        rows.map(({ key }) => key),
      ),
    };
  });
  return rows.flatMap((row) => {
    const run = runs.get(row.key.runId);
    if (run === undefined) return [];
    return [
      {
        offer: composeOffer(run, row.key, details.get(formatJobId(row.key))),
        checkpoint: row.checkpoint,
        logOffset: row.logSize,
        logCrc32c: row.logCrc32c,
        annotations: row.annotations,
        valueNumber: row.valueNumber,
        artifacts: row.artifacts,
        ranMs: row.startedMs === undefined ? 0 : nowMs - row.startedMs,
        ...(row.stop !== undefined && { cancel: row.stop.phase }),
      },
    ];
  });
}

function acceptsOf(schemas: SpecSchemas, hello: Hello, digest: Buffer | undefined): AcceptsSpec | Refusal {
  if (hello.specSchema === undefined || digest === undefined) return () => true;
  const accepts = schemas.compile(digest.toString('hex'), hello.specSchema);
  if (typeof accepts === 'function') return accepts;
  const message =
    'the spec schema of Hello cannot be used: send a valid JSON Schema (2020-12) without outside references';
  return { refused: 'PROTOCOL_VIOLATION', message, violations: accepts };
}

function sha256(data: string | Uint8Array): Buffer {
  return createHash('sha256').update(data).digest();
}

function forbidsName(principal: Principal, hello: Hello): Refusal {
  return {
    refused: 'TOKEN_FORBIDS',
    message:
      `this token may serve ${principal.driverNames?.join(', ') || 'no driver'}, and not ${hello.driver}: ` +
      'use a token for this driver name',
  };
}

function belongsToOther(hello: Hello): Refusal {
  return {
    refused: 'TOKEN_FORBIDS',
    message:
      `instance ${hello.instance} of driver ${hello.driver} belongs to another token and its lease still runs: ` +
      'use another instance_id, or that token',
  };
}
