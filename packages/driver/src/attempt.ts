// Owns one attempt that this process holds: its phase, its log, what was reported of it, and its result until that is
// acknowledged. Reports and result outlive a connection: what may not have arrived is said again, repeats have no effect.
import {
  type AppendAnswer,
  HeldPhase,
  type Offer,
  type ValueAnswer,
} from '@conveyor/protocol/conveyor/v1/driver_session_pb.js';
import type { LogChannel } from '@conveyor/protocol/conveyor/v1/log_pb.js';
import type { AttemptResult } from './attempt-result.ts';
import { type AttemptKey, type Frame, type Held, finishFrame, logFrame } from './frames.ts';
import { LogSpool, type SpoolBounds } from './log-spool.ts';
import { Questions } from './questions.ts';
import { StopRequest } from './stop-request.ts';

/** Called when an attempt has something new to say; urgent when someone waits for it. */
export type Speak = (attempt: Attempt, urgent: boolean) => void;

type AttemptPhase =
  /** Claimed, by an accept or an adoption that `claim` says; nothing runs yet. */
  | { readonly kind: 'claimed'; readonly claim: Frame }
  | { readonly kind: 'running' }
  /** The work is done; `said` once the result went out on the present session. */
  | { readonly kind: 'finished'; readonly result: AttemptResult; said: boolean };

export class Attempt implements AttemptKey {
  readonly id: string;
  readonly fence: number;
  readonly offer: Offer;
  /** For work taken over from an earlier process: what that process noted. */
  readonly handle: Buffer | undefined;
  readonly log = new LogSpool();
  readonly stop = new StopRequest();
  readonly #speak: Speak;
  #phase: AttemptPhase;
  /** By what a later report replaces: an output's key, the one checkpoint, … Bounded by the contract. */
  #reports: Map<string, Frame> | undefined;
  #unsaid: Set<string> | undefined;
  #values: Questions<ValueAnswer> | undefined;
  #appends: Questions<AppendAnswer> | undefined;

  constructor(offer: Offer, claim: Frame, handle: Buffer | undefined, speak: Speak) {
    this.id = offer.attemptId;
    this.fence = offer.fence;
    this.offer = offer;
    this.handle = handle;
    this.#phase = { kind: 'claimed', claim };
    this.#speak = speak;
  }

  /** The frame that claims it, until it starts. */
  get claim(): Frame | undefined {
    return this.#phase.kind === 'claimed' ? this.#phase.claim : undefined;
  }

  /** What was asked about values of its run. */
  get values(): Questions<ValueAnswer> {
    return (this.#values ??= new Questions(this, 'value'));
  }

  /** What it asked to append to its run. */
  get appends(): Questions<AppendAnswer> {
    return (this.#appends ??= new Questions(this, 'append'));
  }

  get running(): boolean {
    return this.#phase.kind === 'running';
  }

  get finished(): boolean {
    return this.#phase.kind === 'finished';
  }

  /** What Hello says of it. */
  get held(): Held {
    return { id: this.id, fence: this.fence, phase: heldPhases[this.#phase.kind], logOffset: this.log.sent };
  }

  /** Work begins; its log at `logOffset`, behind bytes with the given CRC. */
  start(logOffset: number, logCrc32c: number, bounds: SpoolBounds): void {
    this.log.begin(logOffset, logCrc32c, bounds);
    this.#phase = { kind: 'running' };
  }

  finish(result: AttemptResult): void {
    this.#phase = { kind: 'finished', result, said: false };
    this.#speak(this, true);
  }

  /** Appends to the log while the work goes on; what comes later is dropped. */
  write(data: string | Uint8Array, channel: LogChannel): Promise<void> {
    if (!this.running) return Promise.resolve();
    const written = this.log.write(data, channel);
    this.#speak(this, false);
    return written;
  }

  /** Says `frame` in place of what was said before by the same name; at once when someone waits for it. */
  report(name: string, frame: Frame, urgent = false): void {
    if (!this.running) return;
    this.#reports ??= new Map();
    this.#unsaid ??= new Set();
    this.#reports.set(name, frame);
    this.#unsaid.add(name);
    this.#speak(this, urgent);
  }

  /** What was said by this name is not said again. */
  withdraw(name: string): void {
    this.#reports?.delete(name);
    this.#unsaid?.delete(name);
  }

  /** A session began that has the log up to `logOffset`: all else is to be said again. */
  resume(logOffset: number, windowBytes: number): void {
    this.log.restart(logOffset, windowBytes);
    if (this.#reports !== undefined) this.#unsaid = new Set(this.#reports.keys());
    this.repeatFinish();
  }

  /** The result, if there is one, is to be said again once the log is sent. */
  repeatFinish(): void {
    if (this.#phase.kind === 'finished') this.#phase.said = false;
    this.#speak(this, true);
  }

  /** Hands every unsaid report to `take`. */
  takeReports(take: (frame: Frame) => void): void {
    if (this.#unsaid === undefined || this.#reports === undefined) return;
    for (const name of this.#unsaid) {
      const frame = this.#reports.get(name);
      if (frame !== undefined) take(frame);
    }
    this.#unsaid.clear();
  }

  /** The next log bytes as a frame; undefined when none may be sent now. */
  takeLog(maxBytes: number): Frame | undefined {
    const slice = this.log.take(maxBytes);
    return slice && logFrame(this, slice);
  }

  /** True when it has log bytes or a result that may go out now. */
  get hasMore(): boolean {
    return this.log.sendable || (this.#phase.kind === 'finished' && !this.#phase.said && this.log.drained);
  }

  /** The result as a frame, once all before it is said; undefined when there is none to say. */
  takeFinish(): Frame | undefined {
    if (this.#phase.kind !== 'finished' || this.#phase.said || !this.log.drained) return undefined;
    this.#phase.said = true;
    return finishFrame(this, this.#phase.result, this.log);
  }
}

const heldPhases = {
  claimed: HeldPhase.ACCEPTED,
  running: HeldPhase.RUNNING,
  finished: HeldPhase.FINISHED,
} as const;
