// Owns a ledger over a test's database, to fill it by the code that fills it in earnest: runs are created and changed by commands.
import { createHash } from 'node:crypto';
import type { Command } from '../../core/commands.ts';
import type { Definition } from '../../core/definition.ts';
import { EVENT_VERSION } from '../../core/event-versions.ts';
import type { RunId } from '../../core/ids.ts';
import { canonicalJson, type JsonObject } from '../../core/json.ts';
import { isRefusal } from '../../core/refusal.ts';
import type { Labels } from '../../core/views.ts';
import { createPools } from '../../store/connect.ts';
import { digestOf } from '../../store/definition-rows.ts';
import { grantLease, insertSpecSchema, takeOver } from '../../store/instance-rows.ts';
import { readClock } from '../../store/ledger-rows.ts';
import { type Pool, withTransaction } from '../../store/pool.ts';
import type { Tx } from '../../store/sql.ts';
import { createTestDatabase, type TestDatabase } from '../../store/testing/database.ts';
import { createCreates } from '../creates.ts';
import { flushSubmissions } from '../flush.ts';
import { createLedger, type Ledger } from '../ledger.ts';
import { inTurns } from '../pace.ts';
import { createPlans, type Plans } from '../plans.ts';
import type { LedgerReply, Writer } from '../run-work.ts';
import { createDriverSchemas } from '../driver-schemas.ts';
import { createRunCache } from '../run-cache.ts';
import { createWakeUps, type WakeUps } from '../wake-ups.ts';

export interface RunInput {
  readonly project?: string;
  readonly pipeline?: string;
  readonly labels?: Labels;
  readonly params?: JsonObject;
  readonly request?: { readonly id: string; readonly bodyDigest: Uint8Array };
}

export interface InstanceInput {
  readonly specSchema?: JsonObject;
  readonly labels?: Labels;
  /** Negative: a lease that ran out. Default: a minute. */
  readonly leaseMs?: number;
}

export interface LedgerFixture extends AsyncDisposable {
  readonly pool: Pool;
  readonly plans: Plans;
  readonly wakeUps: WakeUps;
  readonly ledger: Ledger;
  create(definition: Definition, run?: RunInput): Promise<RunId>;
  /** @param writer In whose name; default: nobody's. */
  submit(runId: RunId, command: Command, writer?: Writer): Promise<LedgerReply>;
  /** Decides on commands in one transaction, which is committed after `work`, or rolled back when that throws. */
  inTransaction<T>(work: (submit: LedgerFixture['submit']) => Promise<T>): Promise<T>;
  /** Offers a job, accepts it and finishes it well. */
  succeed(runId: RunId, job: number): Promise<void>;
  /** Registers a driver instance as a session would. Returns the number of its row. */
  connect(driver: string, instance: string, input?: InstanceInput): Promise<number>;
}

/** A ledger over a database of its own. Call it once a test file. */
export async function openTestLedger(): Promise<LedgerFixture> {
  const database = await createTestDatabase();
  const ledger = await openLedgerFixture(database);
  return {
    ...ledger,
    async [Symbol.asyncDispose]() {
      await ledger[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

export async function openLedgerFixture({ config }: TestDatabase): Promise<LedgerFixture> {
  const pools = await createPools(config);
  const plans = createPlans();
  const schemas = createDriverSchemas(pools.pool);
  const flushing = { plans, cache: createRunCache(), schemas, eventVersion: () => EVENT_VERSION };
  const wakeUps = createWakeUps();
  const ledger = createLedger({
    lane: pools.openLane('transitions'),
    patientLane: pools.openLane('patient transitions'),
    flushing,
    onCommitted(works) {
      for (const { context } of works) wakeUps.ring(`run:${context.runId}`);
      wakeUps.ring('feed');
    },
  });
  const creates = createCreates({
    lane: pools.openLane('creates'),
    largeLane: pools.openLane('large creates'),
    flushing,
    onCreated: () => wakeUps.ring('feed'),
  });

  const submit: LedgerFixture['submit'] = async (runId, command, writer) =>
    (await ledger.submit(runId, command, writer === undefined ? {} : { writer })).reply;

  async function submitIn(tx: Tx, runId: RunId, command: Command, writer?: Writer): Promise<LedgerReply> {
    const submission = {
      runId,
      project: undefined,
      command,
      writer,
      misses: 0,
      isCostly: false,
      number: 0,
      answer: () => undefined,
      fail: () => undefined,
    };
    const { works } = await flushSubmissions(tx, Promise.resolve(), [submission], flushing, true);
    const answer = works[0]?.answers.get(submission);
    if (answer === undefined) throw new Error('the command was not decided on');
    return answer.reply;
  }

  return {
    pool: pools.pool,
    plans,
    wakeUps,
    ledger,
    submit,
    async create(definition, { project = 'default', pipeline, labels = {}, params = {}, request } = {}) {
      const created = await creates.create({
        project,
        digest: await inTurns(digestOf(definition)),
        definition,
        command: {
          type: 'Create',
          trigger: { kind: 'api', actor: 'test', reference: '' },
          ...(pipeline !== undefined && { pipeline, revision: 1 }),
        },
        params,
        labels,
        traceparent: '',
        request,
      });
      if (isRefusal(created)) throw new Error(created.message);
      return created.runId;
    },
    async inTransaction(work) {
      // A flush sends statements together, as only a lane takes them.
      await using lane = pools.openLane('transaction');
      return await lane.use(async (tx) => {
        await tx.query('begin');
        const result = await work((runId, command, writer) => submitIn(tx, runId, command, writer));
        await tx.query('commit');
        return result;
      });
    },
    async succeed(runId, job) {
      await submit(runId, { type: 'Offer', job, instance: 1, instanceId: 'i-1' });
      await submit(runId, { type: 'Accept', job, attempt: 1, instance: 1 });
      await submit(runId, finishWell(job, 1));
    },
    async connect(driver, instance, { specSchema, labels = {}, leaseMs = 60_000 } = {}) {
      return await withTransaction(pools.pool, async (tx) => {
        const nowMs = await readClock(tx);
        const schemaDigest =
          specSchema === undefined ? undefined : createHash('sha256').update(canonicalJson(specSchema)).digest();
        if (specSchema !== undefined && schemaDigest !== undefined) {
          await insertSpecSchema(tx, driver, schemaDigest, specSchema, nowMs);
        }
        const row = {
          driver,
          instance,
          owner: 'test',
          incarnation: createHash('sha256').update(instance).digest(),
          replica: 'test',
          labels,
          slots: 4,
          pools: {},
          version: '1.2.3',
          schemaDigest,
          nowMs,
        };
        const { no, epoch } = await takeOver(tx, row);
        await grantLease(tx, no, epoch, nowMs, leaseMs);
        return no;
      });
    },
    async [Symbol.asyncDispose]() {
      await ledger[Symbol.asyncDispose]();
      await creates[Symbol.asyncDispose]();
      await pools[Symbol.asyncDispose]();
    },
  };
}

/** The driver reports success, without a log. */
export function finishWell(job: number, attempt: number): Extract<Command, { type: 'Finish' }> {
  return {
    type: 'Finish',
    job,
    attempt,
    instance: 1,
    outcome: 'SUCCEEDED',
    failureClass: 'WORKLOAD',
    message: '',
    logSize: 0,
    logCrc32c: 0,
    logLost: false,
    random: 0,
    content: undefined,
  };
}
