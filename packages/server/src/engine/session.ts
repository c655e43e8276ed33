// One driver instance's live session on this replica: what it may be offered, what it is told, and how it ends. What it holds in
// memory is a copy of the ledger for speed; every write is checked there by fence and epoch.
import type { DriverFrame, Offer, Orphan } from '../core/frames.ts';
import type { AttemptKey } from '../core/ids.ts';
import type { InstanceOffer } from '../core/placement.ts';
import type { Refusal } from '../core/refusal.ts';
import type { AttemptState, CancelPhase } from '../core/states.ts';
import type { AppendCheck } from './append-check.ts';
import type { Background } from './background.ts';
import type { DriverSession, SessionLink } from './driver-operations.ts';
import { createHolds, type Hold } from './holds.ts';
import type { Ledger } from './ledger.ts';
import type { Log } from './log.ts';
import { createLogAcks } from './log-acks.ts';
import type { LogWriter } from './log-writer.ts';
import type { ComposeStart } from './offers.ts';
import type { OutputsCheck } from './outputs-check.ts';
import type { RunValues } from './run-values.ts';
import type { Writer } from './run-work.ts';
import { createSessionAttempts } from './session-attempts.ts';
import { createSessionFrames } from './session-frames.ts';
import { createSettingsStore, type SettingsChange } from './settings-store.ts';
import type { AcceptsSpec } from './spec-schemas.ts';

/** Above this, a slow driver gets no offers. */
const MAX_QUEUED_BYTES = 1_048_576;

/** What the takeover settled before the session began. */
export interface SessionFacts {
  readonly sessionId: string;
  readonly writer: Writer;
  readonly driver: string;
  readonly instance: string;
  readonly slots: number;
  readonly offers: InstanceOffer;
  readonly draining: boolean;
  /** Of its spec schema, in hexadecimal digits; undefined when it has none. */
  readonly schemaDigest: string | undefined;
  readonly accepts: AcceptsSpec;
  /** Attempts that it goes on with, each with the pool of which it takes a slot. */
  readonly held: readonly { readonly key: AttemptKey; readonly pool: string | undefined }[];
  readonly orphans: readonly Orphan[];
}

export interface SessionOptions {
  readonly facts: SessionFacts;
  readonly link: SessionLink;
  readonly ledger: Ledger;
  readonly logWriter: LogWriter;
  /** The largest log of an attempt, in bytes. */
  readonly maxLogBytes: number;
  readonly composeStart: ComposeStart;
  readonly checkOutputs: OutputsCheck;
  /** What drivers may use now. */
  readonly capabilities: () => readonly string[];
  readonly values: Pick<RunValues, 'readFor' | 'changeFor'>;
  readonly checkAppended: AppendCheck;
  /** Why nothing may be appended to runs now. */
  readonly whyTooOld: (version: number) => Refusal | undefined;
  readonly background: Background;
  readonly log: Log;
  /** Asks for a renewal; its Pulse is sent once that is committed. */
  readonly renew: (session: Session, seq: number) => void;
  /** Stores a changed number of slots, or that the instance drains. */
  readonly store: (change: SettingsChange) => Promise<void>;
  /** A slot may have become free. */
  readonly onRoom: () => void;
  /** An offer to this instance came back. */
  readonly onReturned: (key: AttemptKey) => void;
  /** Called once, when the session ends for whatever reason. */
  readonly onEnd: (session: Session) => void;
  /** Ends the lease of an instance that left. */
  readonly dropLease: () => Promise<void>;
}

export interface Session extends DriverSession {
  readonly facts: SessionFacts;
  /** How many more offers it can take now. */
  room(): number;
  /** How many of them may take a slot of this pool. */
  roomOf(pool: string): number;
  /** Hands over an offer that is committed. */
  offer(offer: Offer): void;
  /** Tells that an attempt is to be stopped. */
  stop(key: AttemptKey, phase: CancelPhase, reason: string): void;
  /** Tells that an attempt ended without the driver's word. */
  revoke(key: AttemptKey, state: AttemptState | undefined, reason: string): void;
  holds(): readonly Hold[];
  /** Withdraws offers, and gives up orphans, that were not answered in time. */
  expire(): void;
  drain(draining: boolean): void;
  pulse(seq: number, leaseLeftMs: number): void;
  /** Asks the driver to go to another replica; it gets no more offers here. */
  goAway(): void;
  /** Ends the stream. Says nothing about the attempts on it. */
  end(refusal: Refusal | undefined): void;
}

export const SUPERSEDED: Refusal = {
  refused: 'SESSION_SUPERSEDED',
  message: 'this instance has opened another session, or its lease ran out: say Hello again',
};

export function createSession(options: SessionOptions): Session {
  const { facts, link, logWriter, background } = options;
  const holds = createHolds();
  const acks = createLogAcks(
    (ack) => link.send(ack),
    () => logWriter.windowBytes(),
    options.maxLogBytes,
  );
  let ended = false;
  let slots = facts.slots;
  let draining = facts.draining;
  let leaving = false;
  let left = false;
  const settings = createSettingsStore(async (change) => {
    await options.store(change);
    // A comparison with the ledger as it was before may have come between.
    if (change.draining === true) draining = true;
  });
  const superseded = (): void => session.end(SUPERSEDED);
  const attempts = createSessionAttempts({ ...options, holds, acks, superseded });
  const end = (refusal: Refusal): void => session.end(refusal);
  const frames = createSessionFrames({ ...options, holds, acks, attempts, work, superseded, end });
  for (const { key, pool } of facts.held) holds.add(key, 'RUNNING', 0, pool);
  for (const orphan of facts.orphans) holds.addOrphan(orphan);

  const session: Session = {
    facts,
    sessionId: facts.sessionId,
    room() {
      if (ended || draining || leaving || left || link.queuedBytes() > MAX_QUEUED_BYTES) return 0;
      return Math.max(0, slots - holds.taken());
    },
    roomOf: (pool) => Math.max(0, (facts.offers.pools[pool] ?? 0) - holds.takenOf(pool)),
    offer(offer) {
      const hold = holds.add(offer.key, 'OFFERED', offer.offerTimeoutMs, offer.pool);
      // A driver that was never told cannot have begun.
      if (ended || left) work(() => attempts.withdraw(hold, false));
      else link.send({ type: 'Offer', ...offer });
    },
    stop(key, phase, reason) {
      const hold = holds.find(key);
      if (hold === undefined) return;
      hold.stop = { phase, reason };
      if (hold.phase === 'RUNNING') link.send({ type: 'Cancel', key, phase, reason });
    },
    revoke(key, state, reason) {
      const hold = holds.find(key);
      // Whoever asked is told by the answer.
      if (hold !== undefined && hold.phase !== 'ASKED') attempts.revoke(key, reason, state);
    },
    holds: () => holds.all(),
    expire() {
      for (const hold of holds.overdueOffers()) work(() => attempts.withdraw(hold, true));
      for (const orphan of holds.takeOverdueOrphans()) {
        work(() =>
          attempts.lose(orphan.offer.key, 'INFRASTRUCTURE', 'the driver restarted and did not take it over in time'),
        );
      }
    },
    drain(value) {
      draining = value;
      if (!value) options.onRoom();
    },
    pulse(seq, leaseLeftMs) {
      if (!ended) link.send({ type: 'Pulse', seq, leaseLeftMs });
    },
    goAway() {
      leaving = true;
      link.send({ type: 'Drain' });
    },
    receive(said) {
      for (const frame of said) {
        if (ended) return;
        handle(frame);
      }
    },
    disconnected: close,
    end(refusal) {
      if (ended) return;
      link.end(refusal);
      close();
    },
  };
  return session;

  function close(): void {
    if (ended) return;
    ended = true;
    // What waits is said again in the next session, if it was honest.
    frames.clear();
    options.onEnd(session);
  }

  /** Runs work that answers the driver. When it fails, only a new Hello can tell what is true. */
  function work(task: () => Promise<void>): void {
    background.run(() =>
      task().catch((error: unknown) => {
        options.log.error({ err: error, session: facts.sessionId }, 'a frame could not be handled');
        const message = 'a frame could not be handled: connect again with what is held';
        session.end({ refused: 'DATABASE_UNAVAILABLE', message });
      }),
    );
  }

  function handle(frame: DriverFrame): void {
    // Goodbye is the last word.
    if (left) return;
    switch (frame.type) {
      case 'Heartbeat':
        return options.renew(session, frame.seq);
      case 'Slots':
        slots = frame.total;
        options.onRoom();
        return store({ slots: frame.total });
      case 'Drain':
        draining = true;
        return store({ draining: true });
      case 'Misaddressed': {
        const { attemptId, fence } = frame;
        return link.send({ type: 'Revoke', attemptId, fence, reason: 'no attempt has this id and fence' });
      }
      case 'Goodbye':
        left = true;
        return frames.last(frame, leave);
      case 'Log':
      case 'Section':
      case 'Output':
      case 'Progress':
      case 'Checkpoint':
        return frames.write(frame);
      case 'Adopt':
      case 'Disown':
      case 'Accept':
      case 'Reject':
      case 'Annotation':
      case 'DeclareArtifact':
      case 'AppendJobs':
      case 'GetValue':
      case 'SetValue':
      case 'DeleteValue':
      case 'Finish':
      case 'Malformed':
        return frames.ask(frame);
    }
  }

  function store(change: SettingsChange): void {
    const stored = settings.change(change);
    if (stored !== undefined) work(() => stored);
  }

  async function leave(): Promise<void> {
    await attempts.giveBack();
    await options.dropLease();
    session.end(undefined);
  }
}
