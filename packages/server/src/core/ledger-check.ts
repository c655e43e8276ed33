// What a run's ledger says, held against what is stored of it: takes the events one by one, then the rows. It knows of an attempt what
// its row has, in texts that are short whatever was written, so that it stays small for a run of many.
import type { Annotation, Artifact, RunEvent } from './events.ts';
import { canonicalJson, type JsonObject } from './json.ts';
import { type Plan, plannedJob } from './plan.ts';
import { membershipOf } from './group.ts';
import { createReplay, startPoint } from './replay.ts';
import type { JobRecord, RunHeader } from './run-state.ts';
import { groupLimitOf } from './shares.ts';
import { dueOf } from './alarms.ts';
import type { AttemptState, Failure, JobState, LogState, RunState } from './states.ts';

export type DiscrepancyKind = 'DEFINITION' | 'EVENT' | 'RUN' | 'JOB' | 'QUEUE' | 'ATTEMPT' | 'LOG';

/** Something that is stored otherwise than it should be. */
export interface Discrepancy {
  readonly kind: DiscrepancyKind;
  /** Which thing, such as `jobs[3].state`, `events[17].seq` or `attempts[3.1].log_size`. */
  readonly where: string;
  readonly expected: string;
  readonly found: string;
}

export interface Verification {
  readonly verified: {
    readonly events: number;
    readonly jobs: number;
    readonly attempts: number;
    /** Logs whose bytes were read, and how many these were. */
    readonly logs: number;
    readonly logBytes: number;
    readonly expiredLogs: number;
  };
  readonly discrepancyCount: number;
  /** The first of them. */
  readonly discrepancies: readonly Discrepancy[];
}

export type Report = (discrepancy: Discrepancy) => void;

export interface CheckedEvent {
  readonly seq: number;
  readonly timeMs: number;
  readonly runState: RunState;
  readonly jobState: JobState | undefined;
  readonly event: RunEvent;
}

/** An attempt as it is stored. */
export interface CheckedAttempt {
  readonly job: number;
  readonly attempt: number;
  readonly state: AttemptState;
  readonly instanceNo: number;
  readonly offeredMs: number;
  readonly startedMs: number | null;
  readonly finishedMs: number | null;
  readonly failure: Failure | null;
  readonly logState: LogState;
  readonly logSize: number;
  readonly outputs: JsonObject | null;
  readonly annotations: readonly Annotation[];
  readonly artifacts: readonly Artifact[];
  /** As its row counts them. */
  readonly artifactCount: number;
}

/** What is stored of a job beside its record. */
export interface JobRows {
  /** Of its run. */
  readonly project: string;
  readonly dueMs: number | null;
  /** The driver in whose queue it is; null: in none. */
  readonly queue: string | null;
  /** What it is to its concurrency group, as placeText tells it; null: nothing. */
  readonly place: string | null;
  /** For which tokens it waits, as ratesText tells it; null: for none. */
  readonly rates: string | null;
}

export interface LedgerCheck {
  /** Takes the next event. False: it cannot follow, and nothing can be said about the rows. */
  replay(event: CheckedEvent): boolean;
  compareRun(header: RunHeader): void;
  compareJob(index: number, record: JobRecord, rows: JobRows): void;
  compareAttempt(attempt: CheckedAttempt): void;
  /** After the last row: reports jobs and attempts that have none. */
  reportMissing(): void;
}

/** @param fingerprint A short digest of a text. */
export function createLedgerCheck(plan: Plan, fingerprint: (text: string) => string, report: Report): LedgerCheck {
  const ledger = createReplay(startPoint(plan));
  const { slice } = ledger;
  /** What the events say of attempts whose rows have not come yet, by the columns that have it. */
  const attempts = new Map<string, Texts>();
  const jobsSeen = new Set<number>();
  let last = 0;

  function compare(kind: DiscrepancyKind, where: string, found: Texts, expected: Texts): void {
    for (const field of new Set([...Object.keys(expected), ...Object.keys(found)])) {
      const [is = NOTHING, should = NOTHING] = [found[field], expected[field]];
      if (is !== should) report({ kind, where: `${where}.${field}`, expected: should, found: is });
    }
  }

  function textsOf(record: object): Texts {
    return Object.fromEntries(Object.entries(record).map(([field, value]) => [columnOf(field), shorten(value)]));
  }

  function shorten(value: unknown): string {
    if (value === undefined) return NOTHING;
    const text = canonicalJson(value);
    return text.length <= MAX_SHOWN ? text : `${text.slice(0, SHOWN)}… of ${text.length}, ${fingerprint(text)}`;
  }

  function added(before: string, item: Annotation | Artifact): string {
    const count = Number.parseInt(before, 10) + 1;
    return `${count}, ${fingerprint(before + canonicalJson(item))}`;
  }

  function note(event: RunEvent, timeMs: number): void {
    if (!('attempt' in event)) return;
    const id = `${event.job}.${event.attempt}`;
    const known = attempts.get(id);
    switch (event.type) {
      case 'AttemptOffered': {
        const told = { state: 'OFFERED', instanceNo: event.instanceNo, offeredMs: timeMs };
        attempts.set(id, { ...UNTOLD, ...textsOf(told) });
        return;
      }
      case 'AttemptStarted':
        attempts.set(id, { ...known, ...textsOf({ state: 'RUNNING', startedMs: timeMs }) });
        return;
      case 'AttemptAnnotated':
        attempts.set(id, {
          ...known,
          annotations: added(known?.['annotations'] ?? NONE, event.annotation),
        });
        return;
      case 'AttemptArtifact':
        attempts.set(id, {
          ...known,
          artifacts: added(known?.['artifacts'] ?? NONE, event.artifact),
          artifact_count: String(event.number),
        });
        return;
      case 'AttemptEnded': {
        const { state, failure = null, logState, logSize, outputs = null } = event;
        const told = { state, finishedMs: timeMs, failure, logState, logSize, outputs };
        attempts.set(id, { ...known, ...textsOf(told) });
        return;
      }
      case 'AttemptAdopted':
      case 'AttemptTimedOut':
      case 'AttemptHeard':
      case 'JobsAppended':
        return;
    }
  }

  function factsOf(row: CheckedAttempt): Texts {
    const facts = {
      state: row.state,
      instanceNo: row.instanceNo,
      offeredMs: row.offeredMs,
      startedMs: row.startedMs,
      finishedMs: row.finishedMs,
      failure: row.failure,
      logState: row.logState,
      // Until the end they are the log's own to say.
      ...(row.finishedMs !== null && { logSize: row.logSize, outputs: row.outputs }),
      artifactCount: row.artifactCount,
    };
    return {
      ...textsOf(facts),
      annotations: row.annotations.reduce(added, NONE),
      artifacts: row.artifacts.reduce(added, NONE),
    };
  }

  return {
    replay({ seq, timeMs, runState, jobState, event }) {
      const where = `events[${seq}]`;
      const differs = (field: string, expected: unknown, found: unknown): void =>
        report({ kind: 'EVENT', where: `${where}.${field}`, expected: shorten(expected), found: shorten(found) });
      if (seq !== last + 1) differs('seq', last + 1, seq);
      last = seq;
      if (timeMs < slice.run.lastMs)
        report({
          kind: 'EVENT',
          where: `${where}.time_ms`,
          expected: `${slice.run.lastMs} or later`,
          found: `${timeMs}`,
        });
      try {
        ledger.take({ seq, timeMs, event });
      } catch (error) {
        const expected = 'an event that can follow the ones before';
        report({ kind: 'EVENT', where, expected, found: `${event.type}: ${String(error)}` });
        return false;
      }
      if (runState !== slice.run.state) differs('run_state', slice.run.state, runState);
      const state = 'job' in event ? slice.jobs.get(event.job)?.state : undefined;
      if (jobState !== state) differs('job_state', state, jobState);
      note(event, timeMs);
      return true;
    },
    compareRun: (header) => compare('RUN', 'run', textsOf(header), textsOf(slice.run)),
    compareJob(index, record, { project, dueMs, queue, place, rates }) {
      const where = `jobs[${index}]`;
      const expected = slice.jobs.get(index);
      if (expected === undefined) {
        report({ kind: 'JOB', where, expected: 'no such job', found: shorten(record.state) });
        return;
      }
      jobsSeen.add(index);
      const due = dueOf(slice, index, expected);
      const stored = textsOf({
        ...record,
        dueMs: dueMs ?? undefined,
        place: place ?? undefined,
        rates: rates ?? undefined,
      });
      const waits = { place: placeText(project, slice.plan, index, expected), rates: ratesText(project, expected) };
      compare('JOB', where, stored, textsOf({ ...expected, dueMs: due, ...waits }));
      // The row of a job that is not queued is stale, and dropped when it is claimed.
      if (expected.state !== 'QUEUED') return;
      const driver = slice.plan.jobs[index]?.definition.driver;
      compare('QUEUE', `queue[${index}]`, textsOf({ driver: queue ?? undefined }), textsOf({ driver }));
    },
    compareAttempt(row) {
      const id = `${row.job}.${row.attempt}`;
      const expected = attempts.get(id);
      if (expected === undefined) {
        report({ kind: 'ATTEMPT', where: `attempts[${id}]`, expected: 'no such attempt', found: shorten(row.state) });
        return;
      }
      attempts.delete(id);
      compare('ATTEMPT', `attempts[${id}]`, factsOf(row), expected);
    },
    reportMissing() {
      for (const [index, { state }] of slice.jobs) {
        if (jobsSeen.has(index)) continue;
        report({ kind: 'JOB', where: `jobs[${index}]`, expected: shorten(state), found: 'no row' });
      }
      for (const [id, { state = NOTHING }] of attempts) {
        report({ kind: 'ATTEMPT', where: `attempts[${id}]`, expected: state, found: 'no row' });
      }
    },
  };
}

function placeText(project: string, plan: Plan, index: number, job: JobRecord): string | undefined {
  const state = membershipOf(job);
  const limit = state && groupLimitOf(plannedJob(plan, index).definition, job.details);
  return state && `${state} in ${project} ${job.details?.group} of ${limit} at ${job.readyMs}`;
}

function ratesText(project: string, job: JobRecord): string | undefined {
  if (job.state !== 'WAITING' || job.wait.reason !== 'RATE') return undefined;
  const told = 'expectedMs' in job.wait ? 't' : 'f';
  return job.details?.rates?.map((key) => `${project} ${key} at ${job.readyMs} ${told}`).join(', ');
}

const MAX_SHOWN = 200;
const SHOWN = 100;
const NOTHING = 'nothing';
/** How many there are, and what they come to. */
const NONE = '0';

/** Values as they are shown. */
type Texts = Readonly<Record<string, string>>;

function columnOf(field: string): string {
  return field.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** What an attempt begins with. */
const UNTOLD: Texts = {
  started_ms: 'null',
  finished_ms: 'null',
  failure: 'null',
  log_state: '"OPEN"',
  annotations: NONE,
  artifacts: NONE,
  artifact_count: '0',
};
