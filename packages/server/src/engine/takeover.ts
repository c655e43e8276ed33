// Hello: commits that this session speaks for its instance from now on, and settles who holds what before anything else is said.
import { createHash, randomUUID } from 'node:crypto';
import type { Hello, Orphan, Welcome } from '../core/frames.ts';
import { formatAttemptId, formatJobId } from '../core/ids.ts';
import { canonicalJson } from '../core/json.ts';
import { LIMITS, type Timing } from '../core/limits.ts';
import type { Refusal } from '../core/refusal.ts';
import { type AttemptStateRow, attemptStates, type LiveAttemptRow, liveAttempts } from '../store/attempt-rows.ts';
import { grantLease, insertSpecSchema, lockInstance, takeOver } from '../store/instance-rows.ts';
import { readClock } from '../store/ledger-rows.ts';
import { type Pool, withConnection, withTransaction } from '../store/pool.ts';
import type { Tx } from '../store/sql.ts';
import type { Principal } from './engine.ts';
import { composeOffer } from './offers.ts';
import type { Plans } from './plans.ts';
import { detailsOf, loadContexts } from './run-context.ts';
import type { Writer } from './run-work.ts';
import type { SessionFacts } from './session.ts';
import { keptWithPools } from './held-pools.ts';
import type { AcceptsSpec, SpecSchemas } from './spec-schemas.ts';
import { judgeHeld, type VerdictOptions } from './verdicts.ts';

export interface TakeoverOptions extends VerdictOptions {
  readonly pool: Pool;
  readonly plans: Plans;
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
  const verdicts = await judgeHeld(options, writer, hello.held, { live, ended, nowMs });
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
