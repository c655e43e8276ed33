// The rows of driver instances and of their leases. An instance's row is locked before its lease.
import type { JsonObject } from '../core/json.ts';
import type { Labels } from '../core/views.ts';
import { OUTAGE_MS } from '../core/limits.ts';
import { execute, plain, rowsOf, statement, type Tx } from './sql.ts';

const SHARE_INSTANCES = statement(
  'share_instances',
  'select no, epoch, draining from instances where no = any($1::bigint[]) order by no for share',
);

export interface SharedInstance {
  readonly epoch: number;
  readonly draining: boolean;
}

/** Keeps instances from changing until the transaction ends, and returns what they are by number. */
export async function shareInstances(tx: Tx, numbers: Iterable<number>): Promise<ReadonlyMap<number, SharedInstance>> {
  const rows = await rowsOf<SharedInstance & { no: number }>(tx, SHARE_INSTANCES, [plain([...numbers], (no) => no)]);
  return new Map(rows.map((row) => [row.no, row]));
}

export interface InstanceRow {
  readonly no: number;
  readonly owner: string;
  readonly incarnation: Uint8Array;
  readonly epoch: number;
  readonly draining: boolean;
  /** Undefined: it holds no lease. */
  readonly expiresMs: number | undefined;
}

const LOCK_INSTANCE = statement(
  'lock_instance',
  `select i.no, i.owner, i.incarnation, i.epoch, i.draining, l.expires_ms from instances i
   left join leases l on l.instance_no = i.no where i.driver = $1 and i.instance = $2 for update of i`,
);

export async function lockInstance(tx: Tx, driver: string, instance: string): Promise<InstanceRow | undefined> {
  const [row] = await rowsOf<{
    no: number;
    owner: string;
    incarnation: Buffer;
    epoch: number;
    draining: boolean;
    expires_ms: number | null;
  }>(tx, LOCK_INSTANCE, [driver, instance]);
  return row && { ...row, expiresMs: row.expires_ms ?? undefined };
}

export interface InstanceWrite {
  readonly driver: string;
  readonly instance: string;
  readonly owner: string;
  /** SHA-256 of the incarnation. */
  readonly incarnation: Uint8Array;
  readonly replica: string;
  readonly labels: Labels;
  readonly slots: number;
  /** Slots by the name of their pool. */
  readonly pools: Readonly<Record<string, number>>;
  readonly version: string;
  /** SHA-256 of the canonical spec schema. */
  readonly schemaDigest: Uint8Array | undefined;
  readonly nowMs: number;
}

const TAKE_OVER = statement(
  'take_over',
  `insert into instances as i (driver, instance, owner, incarnation, epoch, replica, labels, slots, version, schema_digest, created_ms,
     connected_ms, pools)
   values ($1, $2, $3, $4, 1, $5, $6, $7, $8, $9, $10, $10, $11)
   on conflict (driver, instance) do update set owner = excluded.owner, incarnation = excluded.incarnation, epoch = i.epoch + 1,
     replica = excluded.replica, labels = excluded.labels, slots = excluded.slots, version = excluded.version,
     schema_digest = excluded.schema_digest, pools = excluded.pools, connected_ms = excluded.connected_ms,
     draining = i.draining and i.incarnation = excluded.incarnation
   returning no, epoch, draining`,
);

/** Makes or takes over the row of an instance; from the commit on, writes of earlier epochs are refused. A new process takes offers. */
export async function takeOver(
  tx: Tx,
  write: InstanceWrite,
): Promise<{ readonly no: number; readonly epoch: number; readonly draining: boolean }> {
  const [row] = await rowsOf<{ no: number; epoch: number; draining: boolean }>(tx, TAKE_OVER, [
    write.driver,
    write.instance,
    write.owner,
    write.incarnation,
    write.replica,
    JSON.stringify(write.labels),
    write.slots,
    write.version,
    write.schemaDigest,
    write.nowMs,
    JSON.stringify(write.pools),
  ]);
  if (row === undefined) throw new Error('an upsert returned no row');
  return row;
}

const GRANT_LEASE = statement(
  'grant_lease',
  `insert into leases (instance_no, epoch, seen_ms, expires_ms) values ($1, $2, $3, $4)
   on conflict (instance_no) do update set epoch = excluded.epoch, seen_ms = excluded.seen_ms, expires_ms = excluded.expires_ms`,
);

export async function grantLease(
  tx: Tx,
  instance: number,
  epoch: number,
  nowMs: number,
  leaseMs: number,
): Promise<void> {
  await execute(tx, GRANT_LEASE, [instance, epoch, nowMs, nowMs + leaseMs]);
}

const INSERT_SCHEMA = statement(
  'insert_schema',
  'insert into spec_schemas (driver, digest, body, created_ms) values ($1, $2, $3, $4) on conflict do nothing',
);

export async function insertSpecSchema(
  tx: Tx,
  driver: string,
  digest: Uint8Array,
  schema: JsonObject,
  nowMs: number,
): Promise<void> {
  await execute(tx, INSERT_SCHEMA, [driver, digest, JSON.stringify(schema), nowMs]);
}

export interface LeaseRef {
  readonly instance: number;
  readonly epoch: number;
}

const RENEW_LEASES = statement(
  'renew_leases',
  `with clock as materialized (select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms)
   update leases l set seen_ms = now_ms, expires_ms = now_ms + $3
   from unnest($1::bigint[], $2::bigint[]) u (instance_no, epoch), clock
   where l.instance_no = u.instance_no and l.epoch = u.epoch returning l.instance_no`,
);

/** Renews leases in one statement. Returns the instances whose lease was renewed; the others were superseded or rescued. */
export async function renewLeases(tx: Tx, leases: readonly LeaseRef[], leaseMs: number): Promise<Set<number>> {
  const rows = await rowsOf<{ instance_no: number }>(tx, RENEW_LEASES, [
    plain(leases, (lease) => lease.instance),
    plain(leases, (lease) => lease.epoch),
    leaseMs,
  ]);
  return new Set(rows.map((row) => row.instance_no));
}

const EXPIRED_LEASES = statement(
  'expired_leases',
  `select l.instance_no from leases l, cluster c
   where l.expires_ms < $1 and c.grace_until_ms < $1 and exists (select from replicas where seen_ms > $1 - ${OUTAGE_MS})
   order by l.instance_no limit $2`,
);

/** Instances whose lease ran out, without a lock. None while the cluster gives grace, or may be about to after an outage. */
export async function expiredLeases(tx: Tx, nowMs: number, limit: number): Promise<number[]> {
  const rows = await rowsOf<{ instance_no: number }>(tx, EXPIRED_LEASES, [nowMs, limit]);
  return rows.map((row) => row.instance_no);
}

const LOCK_FREE_INSTANCES = statement(
  'lock_free_instances',
  'select no from instances where no = any($1::bigint[]) order by no for no key update skip locked',
);

const SEIZE_LEASES = statement(
  'seize_leases',
  `update leases set epoch = epoch + 1, expires_ms = $2 + $3
   where instance_no = any($1::bigint[]) and expires_ms < $2 returning instance_no, epoch`,
);

const RAISE_EPOCHS = statement(
  'raise_epochs',
  `update instances i set epoch = u.epoch from unnest($1::bigint[], $2::bigint[]) u (no, epoch) where i.no = u.no`,
);

/**
 * Takes expired leases away for `holdMs`, in which nobody else does: raises the epoch, so that the old session cannot write any more.
 * Instances that somebody else has locked, or that renewed meanwhile, are left out.
 */
export async function seizeLeases(
  tx: Tx,
  instances: readonly number[],
  nowMs: number,
  holdMs: number,
): Promise<LeaseRef[]> {
  const free = await rowsOf<{ no: number }>(tx, LOCK_FREE_INSTANCES, [plain(instances, (no) => no)]);
  const rows = await rowsOf<{ instance_no: number; epoch: number }>(tx, SEIZE_LEASES, [
    plain(free, (row) => row.no),
    nowMs,
    holdMs,
  ]);
  if (rows.length > 0) {
    await execute(tx, RAISE_EPOCHS, [plain(rows, (row) => row.instance_no), plain(rows, (row) => row.epoch)]);
  }
  return rows.map((row) => ({ instance: row.instance_no, epoch: row.epoch }));
}

const DROP_LEASES = statement(
  'drop_leases',
  `delete from leases l using unnest($1::bigint[], $2::bigint[]) u (instance_no, epoch)
   where l.instance_no = u.instance_no and l.epoch = u.epoch`,
);

/** Ends leases that still have the given epoch. */
export async function dropLeases(tx: Tx, leases: readonly LeaseRef[]): Promise<void> {
  await execute(tx, DROP_LEASES, [plain(leases, (lease) => lease.instance), plain(leases, (lease) => lease.epoch)]);
}

const SET_SLOTS = statement('set_slots', 'update instances set slots = $3 where no = $1 and epoch = $2');

export async function setSlots(tx: Tx, lease: LeaseRef, slots: number): Promise<void> {
  await execute(tx, SET_SLOTS, [lease.instance, lease.epoch, slots]);
}

const SET_DRAINING = statement('set_draining', 'update instances set draining = true where no = $1 and epoch = $2');

/** Marks the instance of a session as draining. */
export async function setDraining(tx: Tx, lease: LeaseRef): Promise<void> {
  await execute(tx, SET_DRAINING, [lease.instance, lease.epoch]);
}

// Locked in the order in which flushes share them.
const DRAIN_MATCHING = statement(
  'drain_matching',
  `with matching as materialized (select i.no from instances i left join leases l on l.instance_no = i.no
     where i.driver like $1 and i.instance like $2
       and ($4 or coalesce(l.expires_ms > extract(epoch from clock_timestamp()) * 1000, false))
     order by i.no for no key update of i)
   update instances i set draining = $3 from matching m where i.no = m.no returning i.no`,
);

/**
 * Marks instances as draining, or takes it back; returns their numbers. In driver and instance `*` stands for any characters. Instances
 * without a live lease count only when neither has one.
 */
export async function drainMatching(tx: Tx, driver: string, instance: string, draining: boolean): Promise<number[]> {
  const isOne = !`${driver}${instance}`.includes('*');
  const rows = await rowsOf<{ no: number }>(tx, DRAIN_MATCHING, [likeOf(driver), likeOf(instance), draining, isOne]);
  return rows.map((row) => row.no);
}

function likeOf(pattern: string): string {
  return pattern.replaceAll(/[\\%_]/g, '\\$&').replaceAll('*', '%');
}

const DRAINING = statement('draining', 'select no from instances where no = any($1::bigint[]) and draining');

/** Which of these instances are draining. */
export async function drainingInstances(tx: Tx, numbers: readonly number[]): Promise<Set<number>> {
  const rows = await rowsOf<{ no: number }>(tx, DRAINING, [plain(numbers, (no) => no)]);
  return new Set(rows.map((row) => row.no));
}
