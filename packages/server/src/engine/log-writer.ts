// The lane of log bytes and of what else drivers say of running attempts. A flush locks the attempts, trims what is stored already,
// appends the rest, and acknowledges after the commit. So what is acknowledged is stored once, in order and without a gap. Instances
// take turns, so whoever says much is not in the way of others; and what waits is bounded.
import type { DriverFrame } from '../core/frames.ts';
import { type AttemptKey, formatAttemptId } from '../core/ids.ts';
import { LIMITS } from '../core/limits.ts';
import { overloaded } from '../core/refusal.ts';
import type { AttemptState } from '../core/states.ts';
import { shareInstances } from '../store/instance-rows.ts';
import type { Lane } from '../store/lane.ts';
import { insertChunks, insertSections, type LogHeadRead, lockLogHeads, moveLogHeads } from '../store/log-rows.ts';
import type { Tx } from '../store/sql.ts';
import { inTransaction } from '../store/transaction.ts';
import { frameBytes } from './frame-bytes.ts';
import { createGroupCommit } from './group-commit.ts';
import { type Appending, append, beginAppending } from './log-append.ts';
import type { Writer } from './run-work.ts';

const MAX_FLUSH = 2_000;
/** Log bytes of one flush, roughly. */
const MAX_FLUSH_BYTES = 4_194_304;
/** What a flush takes of one instance before others had their turn. */
const SHARE_BYTES = 524_288;
/** Among so many frames a flush looks for those whose turn it is. */
const LOOK_AHEAD = 10_000;
/** When so much waits, windows reopen by a little only. */
const PRESSED_BYTES = 67_108_864;
const PRESSED_WINDOW = 65_536;

export type LogEntry = Extract<DriverFrame, { type: 'Log' | 'Section' | 'Output' | 'Progress' | 'Checkpoint' }>;

export type LogResult =
  /** Committed: the log is stored up to `offset`; what the frame had beyond is dropped for good. */
  | { readonly type: 'Stored'; readonly offset: number }
  /** The frame begins behind what is stored: nothing of it was taken. */
  | { readonly type: 'Gap'; readonly offset: number }
  /** The attempt is not running in this instance's hand. */
  | { readonly type: 'Stale'; readonly state?: AttemptState }
  /** The instance has another session. */
  | { readonly type: 'Superseded' }
  /** It can never be stored. */
  | { readonly type: 'Invalid'; readonly problem: string }
  /** Nothing is known to be stored. */
  | { readonly type: 'Failed'; readonly error: unknown };

/** Disposing fails what waits. */
export interface LogWriter extends AsyncDisposable {
  /** Takes one frame; those of an attempt keep their order. `done` is called once, after the commit, and must not throw. */
  write(writer: Writer, entry: LogEntry, done: (result: LogResult) => void): void;
  /** Resolves when all that was written for the attempt before has its result; undefined: it has already. */
  settled(key: AttemptKey): Promise<void> | undefined;
  /** How far beyond what is stored the window of an attempt may reopen now. */
  windowBytes(): number;
}

export interface LogWriterOptions {
  readonly lane: Lane;
  /** The largest log of an attempt: what comes beyond is dropped. */
  readonly maxLogBytes: number;
  /** Hears of each log that grew, after the commit. */
  readonly onGrown: (key: AttemptKey) => void;
}

interface Item {
  readonly id: string;
  readonly writer: Writer;
  readonly entry: LogEntry;
  readonly bytes: number;
  readonly atMs: number;
  readonly done: (result: LogResult) => void;
}

interface Pending {
  count: number;
  readonly empty: PromiseWithResolvers<void>;
}

export function createLogWriter({ lane, maxLogBytes, onGrown }: LogWriterOptions): LogWriter {
  const pending = new Map<string, Pending>();
  let waitingBytes = 0;

  function settle(item: Item, result: LogResult): void {
    waitingBytes -= item.bytes;
    const entry = pending.get(item.id);
    if (entry !== undefined && --entry.count === 0) {
      pending.delete(item.id);
      entry.empty.resolve();
    }
    item.done(result);
  }

  const group = createGroupCommit<Item>({
    maxItems: LOOK_AHEAD,
    async flush(items, signal) {
      const { now, later } = inTurn(items);
      const storeNow = (tx: Tx, begun: Promise<unknown>) => store(tx, begun, now, maxLogBytes);
      const { results, grown } = await inTransaction(lane, storeNow, signal);
      for (const key of grown) onGrown(key);
      now.forEach((item, i) => settle(item, results[i] ?? { type: 'Stale' }));
      return later;
    },
    fail: (item, error) => settle(item, { type: 'Failed', error }),
  });

  return {
    write(writer, entry, done) {
      const bytes = frameBytes(entry);
      if (waitingBytes + bytes > LIMITS.pendingLogBytes) {
        done({ type: 'Failed', error: overloaded(`${LIMITS.pendingLogBytes} bytes of logs`) });
        return;
      }
      waitingBytes += bytes;
      const id = formatAttemptId(entry.key);
      const waiting = pending.get(id);
      if (waiting === undefined) pending.set(id, { count: 1, empty: Promise.withResolvers() });
      else waiting.count++;
      group.add({ id, writer, entry, bytes, atMs: Date.now(), done });
    },
    settled: (key) => pending.get(formatAttemptId(key))?.empty.promise,
    windowBytes: () => (waitingBytes > PRESSED_BYTES ? PRESSED_WINDOW : LIMITS.attemptLogWindow),
    [Symbol.asyncDispose]: () => group[Symbol.asyncDispose](),
  };
}

/** What goes into one flush: of each instance a share, then what else fits. Those of one instance keep their order. */
function inTurn(items: readonly Item[]): { readonly now: readonly Item[]; readonly later: readonly Item[] } {
  const now: Item[] = [];
  const shares = new Map<number, number>();
  let bytes = 0;

  function take(from: readonly Item[], shareBytes: number): Item[] {
    const full = new Set<number>();
    return from.filter((item) => {
      const { instance } = item.writer;
      const share = shares.get(instance) ?? 0;
      if (share >= shareBytes || bytes >= MAX_FLUSH_BYTES || now.length >= MAX_FLUSH) full.add(instance);
      if (full.has(instance)) return true;
      now.push(item);
      bytes += item.bytes;
      shares.set(instance, share + item.bytes);
      return false;
    });
  }

  const later = take(take(items, SHARE_BYTES), Number.POSITIVE_INFINITY);
  return { now, later };
}

async function store(
  tx: Tx,
  begun: Promise<unknown>,
  items: readonly Item[],
  maxLogBytes: number,
): Promise<{ results: readonly LogResult[]; grown: readonly AttemptKey[] }> {
  const [instances, heads] = await Promise.all([
    shareInstances(tx, new Set(items.map(({ writer }) => writer.instance))),
    lockLogHeads(tx, headsNeeded(items)),
    begun,
  ]);
  const logs = new Map(heads.map((head) => [formatAttemptId(head.key), beginAppending(head, maxLogBytes)]));
  const results = items.map((item): LogResult => {
    if (instances.get(item.writer.instance)?.epoch !== item.writer.epoch) return { type: 'Superseded' };
    const log = logs.get(item.id);
    if (log === undefined) return { type: 'Stale' };
    const { head } = log;
    if (head.instance !== item.writer.instance || head.state !== 'RUNNING') return { type: 'Stale', state: head.state };
    return append(log, item.entry, item.atMs);
  });
  await write(
    tx,
    [...logs.values()].filter((log) => log.changed),
  );
  const grown = [...logs.values()].filter((log) => log.logSize > log.head.logSize || log.sections.length > 0);
  return { results, grown: grown.map((log) => log.head.key) };
}

function headsNeeded(items: readonly Item[]): LogHeadRead[] {
  const heads = new Map<string, { key: AttemptKey; withOutputs: boolean; withSections: boolean }>();
  for (const { id, entry } of items) {
    const head = heads.get(id) ?? { key: entry.key, withOutputs: false, withSections: false };
    head.withOutputs ||= entry.type === 'Output';
    head.withSections ||= entry.type === 'Section';
    heads.set(id, head);
  }
  return [...heads.values()];
}

async function write(tx: Tx, logs: readonly Appending[]): Promise<void> {
  if (logs.length === 0) return;
  const chunks = logs.flatMap((log) => log.chunks);
  const sections = logs.flatMap((log) => log.sections.map((section) => ({ key: log.head.key, section })));
  const heads = logs.map((log) => ({
    key: log.head.key,
    logSize: log.logSize,
    logCrc32c: log.logCrc32c,
    outputs: log.outputs && Object.fromEntries(log.outputs.values),
    checkpoint: log.checkpoint,
    progress: log.progress,
  }));
  await Promise.all([
    moveLogHeads(tx, heads),
    chunks.length > 0 && insertChunks(tx, chunks),
    sections.length > 0 && insertSections(tx, sections),
  ]);
}
