// Owns what one driver instance holds, whatever session it is on: claims, work and results. Nothing runs before Start; an
// attempt leaves only when the control plane says that its result is durable or that it is no longer this instance's.
import {
  CancelPhase,
  type LogAck,
  type Offer,
  type Orphan,
  type ServerFrame,
  type Start,
  type Verdict,
  VerdictKind,
  type Welcome,
} from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import { LeaseDoubt } from '@conveyor/protocol/conveyor/v1/pipeline_pb.js';
import { appendUnsupported } from './append.ts';
import { Attempt, type Speak } from './attempt.ts';
import { type AttemptResult, failed, succeeded } from './attempt-result.ts';
import type { DriverSettings } from './define-driver.ts';
import { acceptFrame, adoptFrame, type AttemptKey, disownFrame, drainFrame, type Held, rejectFrame } from './frames.ts';
import { createJobContext, type Supports } from './job-context.ts';
import { JobFailure, JobStopped } from './job-failure.ts';
import type { Logger } from './logger.ts';
import type { SpoolBounds } from './log-spool.ts';
import type { Outbox } from './outbox.ts';
import { PastAttempts } from './past-attempts.ts';
import { unsupported } from './run-values.ts';

export class Holdings<Spec> {
  readonly #settings: DriverSettings<Spec>;
  readonly #slots: number;
  readonly #logger: Logger;
  readonly #held = new Map<string, Attempt>();
  readonly #past = new PastAttempts();
  /** Those of the held that have not started. */
  readonly #claimed = new Set<Attempt>();
  /** Those whose work has not ended, held or not: each occupies a slot. */
  readonly #working = new Set<Attempt>();
  readonly #waiters = new Set<() => void>();
  #outbox: Outbox | undefined;
  #bounds: SpoolBounds = { maxLogBytes: 0, windowBytes: 0 };
  #capabilities: ReadonlySet<string> = new Set();
  #draining = false;

  constructor(settings: DriverSettings<Spec>, logger: Logger) {
    this.#settings = settings;
    this.#slots = settings.slots ?? 1;
    this.#logger = logger;
  }

  /** What Hello says of each attempt. */
  get held(): readonly Held[] {
    return Array.from(this.#held.values(), (attempt) => attempt.held);
  }

  /** True when nothing is held and no work goes on. */
  get idle(): boolean {
    return this.#held.size === 0 && this.#working.size === 0;
  }

  /** True while work goes on. */
  get working(): boolean {
    return this.#working.size > 0;
  }

  /** True while a result is not acknowledged. */
  get owesResults(): boolean {
    return this.#held.values().some((attempt) => attempt.finished);
  }

  /** Resolves once `condition`, of these holdings or their connection, is true. */
  until(condition: () => boolean): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const check = (): void => {
      if (!condition()) return;
      this.#waiters.delete(check);
      resolve();
    };
    this.#waiters.add(check);
    check();
    return promise;
  }

  /** A session is open: what was not answered is said again, as its verdicts tell. */
  connect(welcome: Welcome, outbox: Outbox): void {
    this.#outbox = outbox;
    this.#bounds = { maxLogBytes: Number(welcome.maxLogBytes), windowBytes: Number(welcome.attemptLogWindow) };
    this.#capabilities = new Set(welcome.capabilities);
    const unnamed = new Set(this.#held.values());
    if (!this.#supports('values')) for (const attempt of unnamed) attempt.values.giveUp(unsupported());
    if (!this.#supports('append_jobs')) for (const attempt of unnamed) attempt.appends.giveUp(appendUnsupported());
    for (const verdict of welcome.verdicts) {
      const attempt = this.#find(verdict);
      if (attempt === undefined) continue;
      unnamed.delete(attempt);
      this.#judge(attempt, verdict);
    }
    for (const attempt of unnamed) this.#release(attempt, 'the control plane does not know of it');
    for (const orphan of welcome.orphans) this.#takeOver(orphan);
    if (this.#draining) outbox.say(drainFrame());
  }

  /** The session is over; what is held goes on. */
  disconnect(): void {
    this.#outbox = undefined;
    this.#changed();
  }

  receive(frame: ServerFrame['frame']): void {
    switch (frame.case) {
      case 'offer':
        this.#consider(frame.value);
        return;
      case 'start':
        this.#start(frame.value);
        return;
      case 'logAck':
        this.#acknowledgeLog(frame.value);
        return;
      case 'logMissing': {
        const { offset } = frame.value;
        const attempt = this.#find(frame.value);
        if (attempt === undefined) return;
        this.#outbox?.changeLog(attempt, () => attempt.log.rewind(Number(offset)));
        attempt.repeatFinish();
        return;
      }
      case 'finishAck': {
        const attempt = this.#find(frame.value);
        if (attempt !== undefined) this.#release(attempt, 'it has ended');
        return;
      }
      case 'cancel': {
        const attempt = this.#find(frame.value);
        if (attempt !== undefined) cancel(attempt, frame.value.phase, frame.value.reason);
        return;
      }
      case 'revoke': {
        const attempt = this.#find(frame.value);
        if (attempt !== undefined) this.#release(attempt, frame.value.reason);
        return;
      }
      case 'valueAnswer':
        this.#find(frame.value)?.values.hear(frame.value);
        return;
      case 'appendAnswer':
        this.#find(frame.value)?.appends.hear(frame.value);
        return;
      // Welcome, Pulse and Drain are the session's; what is not known is ignored.
      case 'welcome':
      case 'pulse':
      case 'drain':
      case undefined:
        return;
    }
  }

  /** Takes no more offers. */
  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    this.#outbox?.say(drainFrame());
  }

  /** The lease ran out unanswered: stops work that must never run twice. */
  doubtLease(): void {
    const reason = new JobStopped('lease-in-doubt', 'the control plane did not answer for a whole lease');
    for (const attempt of this.#working) {
      if (attempt.offer.onLeaseDoubt === LeaseDoubt.STOP) attempt.stop.request(reason, true);
    }
  }

  /** Stops all work at once. */
  stopAll(reason: JobStopped): void {
    this.drain();
    for (const attempt of this.#working) attempt.stop.request(reason, true);
  }

  #find({ attemptId, fence }: { readonly attemptId: string; readonly fence: number }): Attempt | undefined {
    const attempt = this.#held.get(attemptId);
    return attempt?.fence === fence ? attempt : undefined;
  }

  #judge(attempt: Attempt, { kind, start, logOffset, cancel: phase }: Verdict): void {
    switch (kind) {
      case VerdictKind.START:
        if (attempt.claim !== undefined && start !== undefined) return this.#start(start);
        return this.#keep(attempt, start?.logOffset ?? logOffset, phase);
      case VerdictKind.KEEP:
        return this.#keep(attempt, logOffset, phase);
      case VerdictKind.FINISHED:
        return this.#release(attempt, 'it has ended');
      case VerdictKind.STOP:
      case VerdictKind.UNSPECIFIED:
        break;
    }
    // What a verdict of another kind would mean is not known: nothing may go on without a word that allows it.
    this.#release(attempt, 'it is no longer held by this driver');
  }

  #keep(attempt: Attempt, logOffset: bigint, phase: CancelPhase): void {
    if (attempt.claim !== undefined) this.#outbox?.say(attempt.claim);
    else attempt.resume(Number(logOffset), this.#bounds.windowBytes);
    cancel(attempt, phase, 'cancelled while the driver was away');
  }

  #takeOver({ offer, checkpoint, cancel: phase }: Orphan): void {
    if (offer === undefined || this.#held.has(offer.attemptId)) return;
    const key = keyOf(offer);
    if (this.#settings.adopt === undefined || this.#draining || this.#past.has(key.id)) {
      this.#outbox?.say(disownFrame(key));
      return;
    }
    const attempt = new Attempt(offer, adoptFrame(key), Buffer.from(checkpoint), this.#speak);
    cancel(attempt, phase, 'cancelled while the driver was away');
    this.#claim(attempt);
  }

  #consider(offer: Offer): void {
    const known = this.#find(offer);
    if (known !== undefined) {
      if (known.claim !== undefined) this.#outbox?.say(known.claim);
      return;
    }
    const objection = this.#objectionTo(offer);
    if (objection !== undefined) this.#outbox?.say(rejectFrame(keyOf(offer), objection));
    else this.#claim(new Attempt(offer, acceptFrame(keyOf(offer)), undefined, this.#speak));
  }

  #objectionTo({ attemptId }: Offer): string | undefined {
    if (this.#draining) return 'the driver is draining';
    if (this.#held.has(attemptId)) return 'the attempt is held with another fence';
    if (this.#past.has(attemptId)) return 'the attempt was held before';
    return this.#claimed.size + this.#working.size >= this.#slots ? 'no slot is free' : undefined;
  }

  #claim(attempt: Attempt): void {
    this.#held.set(attempt.id, attempt);
    this.#claimed.add(attempt);
    if (attempt.claim !== undefined) this.#outbox?.say(attempt.claim);
  }

  #start(start: Start): void {
    const attempt = this.#find(start);
    if (attempt === undefined || !this.#claimed.delete(attempt)) return;
    attempt.start(Number(start.logOffset), start.logCrc32c, this.#bounds);
    // Adopted work lives elsewhere: only its driver can stop it.
    if (attempt.stop.reason !== undefined && attempt.handle === undefined) {
      attempt.finish(failed(attempt.stop.reason, attempt.stop.reason));
      return;
    }
    this.#working.add(attempt);
    // It catches what the work throws; whoever stops this instance waits for `working` to end.
    void this.#work(attempt, start);
  }

  async #work(attempt: Attempt, start: Start): Promise<void> {
    const settings = this.#settings;
    const stopped = attempt.stop.reason;
    let result: AttemptResult | undefined;
    try {
      const context = createJobContext<Spec>(attempt, start, this.#supports);
      await (attempt.handle === undefined ? settings.run(context) : settings.adopt?.(context, attempt.handle));
      result = stopped === undefined ? succeeded : failed(stopped, stopped);
    } catch (error) {
      const { reason } = attempt.stop;
      // What this process gives up when it stops has no result: Goodbye sends it back, to be tried elsewhere.
      if (reason?.why !== 'driver-stopping') result = failed(error, reason);
      if (reason === undefined && !(error instanceof JobFailure)) {
        this.#logger.warn({ err: error, attempt: attempt.id }, 'a job failed by an error that is not a JobFailure');
      }
    }
    this.#working.delete(attempt);
    if (result !== undefined && this.#held.get(attempt.id) === attempt) attempt.finish(result);
    this.#changed();
  }

  #acknowledgeLog(ack: LogAck): void {
    const attempt = this.#find(ack);
    if (attempt === undefined) return;
    this.#outbox?.changeLog(attempt, () => {
      attempt.log.acknowledge(Number(ack.offset), Number(ack.windowEnd));
      if (ack.gap) attempt.log.fillGap(Number(ack.offset));
    });
  }

  /** Holds it no more; work that still goes on is stopped, and occupies its slot until it has. */
  #release(attempt: Attempt, why: string): void {
    this.#held.delete(attempt.id);
    this.#claimed.delete(attempt);
    this.#past.add(attempt.id);
    this.#outbox?.forget(attempt);
    attempt.log.close();
    if (attempt.running) attempt.stop.request(new JobStopped('revoked', why), true);
    this.#changed();
  }

  readonly #supports: Supports = (capability) => this.#capabilities.has(capability);

  readonly #speak: Speak = (attempt, urgent) => {
    if (this.#held.get(attempt.id) === attempt) this.#outbox?.speak(attempt, urgent);
  };

  #changed(): void {
    for (const check of this.#waiters) check();
  }
}

function keyOf({ attemptId, fence }: Offer): AttemptKey {
  return { id: attemptId, fence };
}

function cancel(attempt: Attempt, phase: CancelPhase, why: string): void {
  if (phase === CancelPhase.UNSPECIFIED) return;
  attempt.stop.request(new JobStopped('cancelled', why), phase === CancelPhase.KILL);
}
