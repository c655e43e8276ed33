// Owns a network between drivers and a ledger that does to messages what networks do: it delays, repeats, reorders and loses them, in
// both directions, while drivers crash, speak for one another, leases run out and timers fire early, late and twice. Drivers act on what
// they were told alone.
import type { AttemptRef, Command, Reply } from '../commands.ts';
import type { Definition } from '../definition.ts';
import { EVENT_VERSION } from '../event-versions.ts';
import type { RunEvent } from '../events.ts';
import { type JobRecord, jobOf, liveOf } from '../run-state.ts';
import { dueOf } from '../alarms.ts';
import type { JobState } from '../states.ts';
import { checkReplay, checkStep } from './invariants.ts';
import { attemptKey, type Decide, openLedger, type SimulatedLedger, submit } from './simulated-ledger.ts';

const DRIVERS = 3;
/** Messages under way in each direction; more are lost. */
const MAX_UNDER_WAY = 40;

/** What a driver is told: the offer, the start, a request to stop, or the answer to its result. */
type Told =
  | ({ readonly type: 'Offer' } & AttemptRef)
  | ({ readonly type: 'Start' } & AttemptRef)
  | ({ readonly type: 'Cancel' } & AttemptRef)
  | ({ readonly type: 'Revoke' } & AttemptRef)
  | ({ readonly type: 'FinishAck' } & AttemptRef);

/** What a driver believes of one attempt. */
interface Belief {
  readonly ref: AttemptRef;
  phase: 'ACCEPTED' | 'RUNNING' | 'FINISHED';
  stopped: boolean;
  notes: number;
  /** The result that it keeps on sending. */
  result: Command | undefined;
}

export interface Network {
  readonly ledger: SimulatedLedger;
  /** How many commands the ledger has decided on. */
  readonly decided: () => number;
  /** Lets one thing happen. */
  readonly step: () => void;
}

/** @param random Evenly drawn from [0, 1): all that happens follows from it. */
export function openNetwork(definition: Definition, random: () => number, decideWith?: Decide): Network {
  const ledger = openLedger(definition, decideWith);
  const upward: Command[] = [];
  const downward: Told[] = [];
  const beliefs = Array.from({ length: DRIVERS }, () => new Map<string, Belief>());
  let decided = 0;

  const below = (limit: number): number => Math.floor(random() * limit);
  const chance = (share: number): boolean => random() < share;

  function send<T>(underWay: T[], message: T): void {
    if (underWay.length < MAX_UNDER_WAY) underWay.push(message);
  }

  /** Takes any message that is under way, not the oldest; some are delivered and stay under way. */
  function take<T>(underWay: T[]): T | undefined {
    const index = below(underWay.length);
    const message = underWay[index];
    if (message !== undefined && !chance(0.15)) underWay.splice(index, 1);
    return message;
  }

  function decideOn(command: Command, nowMs = ledger.nowMs): void {
    const attemptsBefore = new Map(ledger.attempts);
    const step = submit(ledger, command, nowMs);
    decided++;
    checkStep(ledger, attemptsBefore, step);
    tell(command, step.decision.reply, step.decision.events, step.before.jobs);
  }

  /** Of what the control plane itself decides on, some is decided late: another replica holds the run, or stands still. */
  function decideSoon(command: Command): void {
    if (chance(0.3)) send(upward, command);
    else decideOn(command);
  }

  /** Tells drivers what a decision means for them, as sessions do. */
  function tell(
    command: Command,
    reply: Reply,
    events: readonly RunEvent[],
    before: ReadonlyMap<number, JobRecord>,
  ): void {
    if ('attempt' in command) {
      const { job, attempt, instance } = command;
      const ref = { job, attempt, instance };
      if (reply.type === 'Stale') send(downward, { type: 'Revoke', ...ref });
      else if (reply.type === 'Finished') send(downward, { type: 'FinishAck', ...ref });
      else if (command.type === 'Accept') send(downward, { type: 'Start', ...ref });
    }
    for (const event of events) {
      if (!('job' in event)) continue;
      const job = before.get(event.job);
      const live = job && liveOf(job);
      if (job === undefined || live === undefined) continue;
      const ref = { job: event.job, attempt: job.attempt, instance: live.instance };
      if (event.type === 'AttemptEnded') send(downward, { type: 'Revoke', ...ref });
      if (event.type === 'JobCancelRequested' || event.type === 'AttemptTimedOut')
        send(downward, { type: 'Cancel', ...ref });
    }
  }

  function hear({ type, ...ref }: Told): void {
    const held = beliefs[ref.instance - 1];
    if (held === undefined) return;
    const key = attemptKey(ref.job, ref.attempt);
    const belief = held.get(key);
    switch (type) {
      case 'Offer':
        if (belief !== undefined) return;
        if (chance(0.1))
          return send(upward, { type: 'Reject', ...ref, reason: 'busy', invalid: false, random: random() });
        held.set(key, { ref, phase: 'ACCEPTED', stopped: false, notes: 0, result: undefined });
        return send(upward, { type: 'Accept', ...ref });
      case 'Start':
        if (belief?.phase === 'ACCEPTED') belief.phase = 'RUNNING';
        return;
      case 'Cancel':
        if (belief !== undefined) belief.stopped = true;
        return;
      case 'Revoke':
      case 'FinishAck':
        held.delete(key);
        return;
    }
  }

  /** A driver goes on with something that it holds, or says again what it has said. */
  function work(): void {
    const held = [...(beliefs[below(DRIVERS)]?.values() ?? [])];
    const belief = held[below(held.length)];
    if (belief === undefined) return;
    const { ref } = belief;
    if (chance(0.02)) return send(upward, { ...finishOf(belief), instance: 1 + below(DRIVERS) });
    if (belief.phase === 'ACCEPTED') return send(upward, { type: 'Accept', ...ref });
    if (belief.result !== undefined) return send(upward, belief.result);
    if (chance(0.3)) return write(ref);
    if (chance(0.2)) {
      belief.notes++;
      const annotation = { level: 'INFO', text: `note ${belief.notes}`, link: '' } as const;
      return send(upward, { type: 'Annotate', ...ref, number: belief.notes, annotation, content: undefined });
    }
    belief.phase = 'FINISHED';
    belief.result = finishOf(belief);
    send(upward, belief.result);
  }

  /** As the log writer does, which checks by itself that the attempt runs in this hand. */
  function write({ job, attempt, instance }: AttemptRef): void {
    const key = attemptKey(job, attempt);
    const content = ledger.attempts.get(key);
    const record = jobOf(ledger.slice, job);
    if (content?.state !== 'RUNNING' || record.attempt !== attempt || liveOf(record)?.instance !== instance) return;
    const logSize = content.logSize + 1 + below(9);
    const outputs = { size: logSize };
    ledger.attempts.set(key, { ...content, logSize, logCrc32c: logSize * 31, outputs, heardMs: ledger.nowMs });
  }

  function finishOf({ ref, stopped }: Belief): Extract<Command, { type: 'Finish' }> {
    const content = ledger.attempts.get(attemptKey(ref.job, ref.attempt));
    const outcome = stopped && chance(0.7) ? 'CANCELLED' : chance(0.6) ? 'SUCCEEDED' : 'FAILED';
    return {
      type: 'Finish',
      ...ref,
      outcome,
      failureClass: chance(0.5) ? 'WORKLOAD' : 'DRIVER',
      message: `result ${below(1_000)}`,
      logSize: content?.logSize ?? 0,
      logCrc32c: content?.logCrc32c ?? 0,
      logLost: chance(0.1),
      random: random(),
      content: undefined,
    };
  }

  /** The dispatcher offers what is queued, and now and then what is not, as one that reads a stale queue does. */
  function dispatch(): void {
    const job = below(definition.jobs.length);
    const record = jobOf(ledger.slice, job);
    if (record.state !== 'QUEUED' && !chance(0.05)) return;
    const instance = 1 + below(DRIVERS);
    const attempt = record.attempt + 1;
    decideOn({ type: 'Offer', job, instance, instanceId: `driver-${instance}` });
    if (jobOf(ledger.slice, job).attempt === attempt) send(downward, { type: 'Offer', job, attempt, instance });
  }

  /** The lease of an instance runs out: what the ledger says it holds is given up, whatever its driver believes. */
  function rescue(): void {
    const instance = 1 + below(DRIVERS);
    for (const [job, record] of ledger.slice.jobs) {
      if (liveOf(record)?.instance !== instance) continue;
      const ref = { job, attempt: record.attempt, instance };
      const message = 'its lease ran out';
      decideSoon({
        type: 'Lose',
        ...ref,
        failureClass: 'INFRASTRUCTURE',
        message,
        random: random(),
        content: undefined,
      });
    }
  }

  /** A driver's process dies and comes back, with nothing in mind but some of what the ledger says that it runs. */
  function crash(): void {
    const instance = 1 + below(DRIVERS);
    const held = beliefs[instance - 1];
    held?.clear();
    for (const [job, record] of ledger.slice.jobs) {
      const live = liveOf(record);
      if (live?.instance !== instance || live.attemptStartedMs === undefined || chance(0.5)) continue;
      const ref = { job, attempt: record.attempt, instance };
      held?.set(attemptKey(job, record.attempt), {
        ref,
        phase: 'RUNNING',
        stopped: false,
        notes: 0,
        result: undefined,
      });
      decideOn({ type: 'Adopt', ...ref });
    }
  }

  function fireTimer(): void {
    const job = below(definition.jobs.length);
    const dueMs = dueOf(ledger.slice, job, jobOf(ledger.slice, job));
    const atMs = dueMs === undefined ? ledger.nowMs : dueMs + (chance(0.25) ? -1 : chance(0.3) ? 50 : 0);
    ledger.nowMs = Math.max(ledger.nowMs, atMs);
    const timer: Command = { type: 'Timer', job, eventVersion: EVENT_VERSION, random: random(), content: undefined };
    decideOn(timer, Math.max(atMs, ledger.slice.run.lastMs));
    if (chance(0.2)) decideSoon(timer);
  }

  function withdraw(): void {
    const open = [...ledger.slice.jobs].filter(([, { state }]) => state === 'OFFERED');
    const [job, record] = open[below(open.length)] ?? [];
    const instance = record && liveOf(record)?.instance;
    if (job === undefined || record === undefined || instance === undefined) return;
    decideSoon({ type: 'Withdraw', job, attempt: record.attempt, instance, expired: chance(0.7), random: random() });
  }

  function ask(): void {
    const job = below(definition.jobs.length);
    const by = { reason: 'asked', actor: 'somebody' };
    if (chance(0.1)) return decideOn({ type: 'CancelRun', reason: 'enough', force: chance(0.3) });
    if (chance(0.2)) return decideOn({ type: 'CancelJob', job, reason: 'not this one' });
    if (chance(0.2)) return decideOn({ type: 'ReleaseBackoff', job });
    // What is held back is let go more often than not, or nothing else would happen.
    if (chance(0.5)) return decideOn({ type: chance(0.4) ? 'PauseRun' : 'ResumeRun', ...by });
    decideOn({ type: chance(0.4) ? 'HoldJob' : 'ReleaseJob', job, ...by });
  }

  /** Each thing that may happen, by how often. */
  const happenings: readonly (readonly [share: number, happen: () => void])[] = [
    [0.3, () => deliver(upward, decideOn)],
    [0.24, () => deliver(downward, hear)],
    [0.2, work],
    [0.15, dispatch],
    [0.05, fireTimer],
    [0.015, withdraw],
    [0.01, crash],
    [0.01, rescue],
    [0.02, ask],
    [0.005, () => void upward.splice(below(upward.length + 1), 3)],
  ];

  function deliver<T>(underWay: T[], to: (message: T) => void): void {
    const message = take(underWay);
    if (message !== undefined) to(message);
  }

  decideOn({ type: 'Create', trigger: { kind: 'api', actor: '', reference: '' } });
  return {
    ledger,
    decided: () => decided,
    step() {
      ledger.nowMs += below(4);
      let left = random();
      for (const [share, happen] of happenings) {
        left -= share;
        if (left < 0) return happen();
      }
    },
  };
}

/** Lets so many things happen, and checks every promise after each. Returns how many commands were decided on. */
export function liveThrough(
  definition: Definition,
  random: () => number,
  steps: number,
  decideWith?: Decide,
): { readonly decided: number; readonly states: ReadonlySet<JobState> } {
  const { ledger, decided, step } = openNetwork(definition, random, decideWith);
  const states = new Set<JobState>();
  for (let n = 0; n < steps && ledger.slice.run.finishedMs === undefined; n++) {
    step();
    for (const { state } of ledger.slice.jobs.values()) states.add(state);
  }
  checkReplay(ledger);
  return { decided: decided(), states };
}
