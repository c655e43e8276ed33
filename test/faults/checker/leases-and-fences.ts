// 3. At most one live lease a job; fences rise by one; and nobody who lost a lease is told that what he wrote since was taken: neither
// under an old fence, nor by a session that another one of the same instance has replaced, nor by an instance that never held it.
import type { JournalEntry } from '../drivers/journal.ts';
import type { Evidence, EventRow } from './evidence.ts';
import { answeredFinishes } from './finishes.ts';

export function leasesAndFences({ rows, journal }: Evidence): string[] {
  return [
    ...[...rows.events].flatMap(([runId, events]) => brokenLeases(runId, events)),
    ...foreignWrites(journal, rows.attempts),
    ...supersededWrites(journal),
    ...wordlessResults(journal, rows.attempts),
  ];
}

function brokenLeases(runId: string, events: readonly EventRow[]): string[] {
  const broken: string[] = [];
  const live = new Map<number, number>();
  const newest = new Map<number, number>();
  for (const { seq, type, job, data } of events) {
    if (job === null) continue;
    const attempt = Number(data['attempt']);
    if (type === 'AttemptOffered') {
      if (live.has(job))
        broken.push(`event ${seq} of run ${runId} offers job ${job}, whose attempt ${live.get(job)} is live`);
      if (attempt !== (newest.get(job) ?? 0) + 1) {
        broken.push(`event ${seq} of run ${runId}: attempt ${attempt} of job ${job} follows ${newest.get(job) ?? 0}`);
      }
      live.set(job, attempt);
      newest.set(job, attempt);
    } else if (type === 'AttemptStarted' || type === 'AttemptEnded') {
      if (live.get(job) !== attempt)
        broken.push(`event ${seq} of run ${runId}: attempt ${attempt} of job ${job} holds no lease`);
      if (type === 'AttemptEnded') live.delete(job);
    }
  }
  return broken;
}

/** Whoever is started, or whose bytes or result are taken, is the instance that the ledger gave the attempt to. */
function foreignWrites(journal: readonly JournalEntry[], attempts: Evidence['rows']['attempts']): string[] {
  const instances = new Map<string, string>();
  const foreign: string[] = [];
  for (const entry of journal) {
    if ('say' in entry && entry.say === 'hello') instances.set(entry.session, entry.instance);
    if (!('hear' in entry) || !/^(start|logAck|finishAck)$/.test(entry.hear) || !('attempt' in entry)) continue;
    const holder = attempts.get(entry.attempt)?.instance;
    const instance = instances.get(entry.session);
    if (holder !== instance)
      foreign.push(`${entry.hear} of ${entry.attempt} went to ${instance}, and ${holder} holds it`);
    if (!entry.attempt.endsWith(`.${entry.fence}`))
      foreign.push(`${entry.hear} of ${entry.attempt} has fence ${entry.fence}`);
  }
  return foreign;
}

/** What a session says after a later one of its instance was welcomed is acknowledged to nobody. */
function supersededWrites(journal: readonly JournalEntry[]): string[] {
  const instances = new Map<string, string>();
  const welcomes: {
    readonly instance: string;
    readonly session: string;
    readonly epoch: number;
    readonly atMs: number;
  }[] = [];
  for (const entry of journal) {
    if ('say' in entry && entry.say === 'hello') instances.set(entry.session, entry.instance);
    if ('hear' in entry && entry.hear === 'welcome') {
      const { session, epoch, atMs } = entry;
      welcomes.push({ instance: instances.get(session) ?? '', session, epoch, atMs });
    }
  }
  const supersededAt = new Map<string, number>();
  for (const { session, instance, epoch } of welcomes) {
    const later = welcomes.filter((one) => one.instance === instance && one.epoch > epoch).map(({ atMs }) => atMs);
    if (later.length > 0) supersededAt.set(session, Math.min(...later));
  }
  const taken: string[] = [];
  // By session and attempt: what was said since, and whether its answer may be to something said before.
  const since = new Map<string, { log: number; finishes: number; pendingBefore: number }>();
  for (const entry of journal) {
    const limitMs = supersededAt.get(entry.session);
    if (limitMs === undefined || !('attempt' in entry)) continue;
    const key = `${entry.session} ${entry.attempt}`;
    const state = since.get(key) ?? { log: Number.POSITIVE_INFINITY, finishes: 0, pendingBefore: 0 };
    since.set(key, state);
    if ('say' in entry && entry.say === 'log' && entry.atMs > limitMs) state.log = Math.min(state.log, entry.offset);
    if ('say' in entry && entry.say === 'finish') {
      if (entry.atMs > limitMs) state.finishes++;
      else state.pendingBefore++;
    }
    if (!('hear' in entry)) continue;
    if (entry.hear === 'logAck' && entry.atMs > limitMs && entry.offset > state.log) {
      taken.push(`bytes of ${entry.attempt} were taken from session ${entry.session}, which was superseded`);
    }
    if (entry.hear === 'finishAck') {
      if (state.pendingBefore > 0) state.pendingBefore--;
      else if (state.finishes > 0)
        taken.push(`a result of ${entry.attempt} was taken from superseded session ${entry.session}`);
    }
  }
  return taken;
}

/** An attempt that has a result has it from its driver. */
function wordlessResults(journal: readonly JournalEntry[], attempts: Evidence['rows']['attempts']): string[] {
  const said = new Set(answeredFinishes(journal).map(({ attempt }) => attempt));
  return [...attempts.values()]
    .filter(({ id, has_result: hasResult }) => hasResult && !said.has(id))
    .map(({ id }) => `${id} has a result that nobody sent`);
}
