// One driver instance's live session on this replica: turns frames into commands and log writes, and answers after their commit.
// What it holds in memory is a copy of the ledger for speed; every write is checked there by fence and epoch.
import type { Command } from '../core/commands.ts';
import type { DriverFrame, Offer, Orphan } from '../core/frames.ts';
import { type AttemptKey, formatAttemptId } from '../core/ids.ts';
import { LIMITS } from '../core/limits.ts';
import type { Refusal } from '../core/refusal.ts';
import type { AttemptState, CancelPhase } from '../core/states.ts';
import type { Background } from './background.ts';
import type { DriverSession, SessionLink } from './engine.ts';
import { type Answered, createFrameLines } from './frame-lines.ts';
import { createHolds, type Hold } from './holds.ts';
import type { Ledger } from './ledger.ts';
import type { Log } from './log.ts';
import { createLogAcks } from './log-acks.ts';
import type { LogEntry, LogResult, LogWriter } from './log-writer.ts';
import { BEGINNING, CannotStart, type ComposeStart, type StartPoint } from './offers.ts';
import type { RunContext } from './run-context.ts';
import type { LedgerReply, Writer } from './run-work.ts';
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
  readonly draining: boolean;
  /** Of its spec schema, in hexadecimal digits; undefined when it has none. */
  readonly schemaDigest: string | undefined;
  readonly accepts: AcceptsSpec;
  /** Attempts that it goes on with. */
  readonly held: readonly AttemptKey[];
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

const NO_ORPHAN = 'it is not an orphan of yours, or no longer';
const BEFORE_START = 'the driver wrote to it before it was started';

/** A command about an attempt without what every one of them carries. */
type Unaddressed<C extends Command = Command> = C extends { readonly attempt: number }
  ? Omit<C, 'job' | 'attempt' | 'instance' | 'content'>
  : never;

export function createSession(options: SessionOptions): Session {
  const { facts, link, ledger, logWriter, background } = options;
  const { writer } = facts;
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
  let pendingLogBytes = 0;
  const losing = new Set<string>();
  const lines = createFrameLines(LIMITS.sessionPendingBytes);
  const settings = createSettingsStore(async (change) => {
    await options.store(change);
    // A comparison with the ledger as it was before may have come between.
    if (change.draining === true) draining = true;
  });
  for (const key of facts.held) holds.add(key, 'RUNNING', 0);
  for (const orphan of facts.orphans) holds.addOrphan(orphan);

  const session: Session = {
    facts,
    sessionId: facts.sessionId,
    room() {
      if (ended || draining || leaving || left || link.queuedBytes() > MAX_QUEUED_BYTES) return 0;
      return Math.max(0, slots - holds.taken());
    },
    offer(offer) {
      const hold = holds.add(offer.key, 'OFFERED', offer.offerTimeoutMs);
      // A driver that was never told cannot have begun.
      if (ended || left) work(() => withdraw(hold, false));
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
      if (hold !== undefined && hold.phase !== 'ASKED') sendRevoke(key, reason, state);
    },
    holds: () => holds.all(),
    expire() {
      for (const hold of holds.overdueOffers()) work(() => withdraw(hold, true));
      for (const orphan of holds.takeOverdueOrphans()) {
        work(() => lose(orphan.offer.key, 'INFRASTRUCTURE', 'the driver restarted and did not take it over in time'));
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
    receive(frames) {
      for (const frame of frames) {
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
    lines.clear();
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
      case 'Accept':
        return accept(frame);
      case 'Finish':
        return finish(frame);
      case 'Log':
        return writeLog(frame);
      case 'Section':
      case 'Output':
      case 'Progress':
      case 'Checkpoint':
        return write(frame, (result) => written(frame, result));
      case 'Heartbeat':
        return options.renew(session, frame.seq);
      case 'Annotation':
        return ask(frame, () => annotate(frame));
      case 'Reject':
        markAsked(frame.key);
        return ask(frame, () => reject(frame));
      case 'Malformed':
        return ask(frame, () => lose(frame.key, 'INVALID', `the driver sent what cannot be taken: ${frame.problem}`));
      case 'Misaddressed': {
        const { attemptId, fence } = frame;
        return link.send({ type: 'Revoke', attemptId, fence, reason: 'no attempt has this id and fence' });
      }
      case 'Adopt':
        return ask(frame, () => adopt(frame.key));
      case 'Disown':
        return ask(frame, () => disown(frame.key));
      case 'Slots':
        slots = frame.total;
        options.onRoom();
        return store({ slots: frame.total });
      case 'Drain':
        draining = true;
        return store({ draining: true });
      case 'Goodbye':
        left = true;
        return admitted(lines.askBehindWrites(frame, begun(leave)));
    }
  }

  function store(change: SettingsChange): void {
    const stored = settings.change(change);
    if (stored !== undefined) work(() => stored);
  }

  /** Runs what a frame asks for when its turn has come. */
  function ask(frame: DriverFrame, task: () => Promise<void>): void {
    admitted(lines.ask(frame, begun(task)));
  }

  function write(frame: LogEntry, done: (result: LogResult) => void): void {
    admitted(
      lines.write(frame, (answered) =>
        logWriter.write(writer, frame, (result) => {
          done(result);
          answered();
        }),
      ),
    );
  }

  function begun(task: () => Promise<void>): (answered: Answered) => void {
    return (answered) => work(() => task().finally(answered));
  }

  function admitted(isAdmitted: boolean): void {
    if (isAdmitted) return;
    const max = LIMITS.sessionPendingBytes;
    session.end({
      refused: 'LIMIT_REACHED',
      message: `frames of ${max} bytes wait for an answer, as many as one session may have: say less at a time`,
      metadata: { limit: 'session_pending_bytes', max: String(max) },
    });
  }

  function accept(frame: Extract<DriverFrame, { type: 'Accept' }>): void {
    const { key } = frame;
    const hold = holds.find(key) ?? holds.add(key, 'OFFERED', Number.POSITIVE_INFINITY);
    // Said again, it is about to be answered.
    if (hold.phase === 'ASKED') return;
    hold.phase = 'ASKED';
    ask(frame, async () => {
      const { reply, run } = await submit(key, { type: 'Accept' });
      if (reply.type === 'Done' && run !== undefined) await start(hold, run, BEGINNING);
      else stale(key, reply, 'the offer is no longer yours');
    });
  }

  async function adopt(key: AttemptKey): Promise<void> {
    const orphan = holds.takeOrphan(key);
    if (orphan === undefined) {
      const hold = holds.find(key);
      if (hold?.phase === 'OFFERED') return lose(key, 'INVALID', 'the driver adopted an offer instead of accepting it');
      // Said again, it is answered already, or about to be.
      if (hold === undefined) sendRevoke(key, NO_ORPHAN);
      return;
    }
    const hold = holds.add(key, 'ASKED', 0);
    const { reply, run, job } = await submit(key, { type: 'Adopt' });
    if (reply.type !== 'Done' || run === undefined) return stale(key, reply, 'it is no longer yours');
    const live = job !== undefined && 'live' in job ? job.live : undefined;
    if (live?.stop !== undefined) hold.stop = live.stop;
    const { ranMs, logOffset, logCrc32c, annotations } = orphan;
    await start(hold, run, { ranMs, resumed: true, logOffset, logCrc32c, annotations });
  }

  async function start(hold: Hold, run: RunContext, point: StartPoint): Promise<void> {
    const { key } = hold;
    try {
      const composed = await options.composeStart(run, key, point);
      // It ended meanwhile, and the driver was told.
      if (holds.find(key) !== hold) return;
      hold.phase = 'RUNNING';
      link.send({ type: 'Start', ...composed });
    } catch (error) {
      if (!(error instanceof CannotStart)) throw error;
      return lose(key, 'INVALID', `the job cannot start: ${error.message}`);
    }
    if (hold.stop !== undefined) link.send({ type: 'Cancel', key, ...hold.stop });
  }

  async function reject(frame: Extract<DriverFrame, { type: 'Reject' }>): Promise<void> {
    const { type, key, reason, retryAfterMs, invalid } = frame;
    const retry = retryAfterMs === undefined ? {} : { retryAfterMs };
    const { reply } = await submit(key, { type, reason, ...retry, invalid, random: Math.random() });
    if (reply.type !== 'Done') {
      return outOfTurn(key, reply, 'the offer is no longer yours', 'it was declined after it was accepted');
    }
    options.onReturned(key);
    drop(key);
  }

  async function withdraw(hold: Hold, expired: boolean): Promise<void> {
    const { key } = hold;
    hold.phase = 'ASKED';
    const { reply } = await submit(key, { type: 'Withdraw', expired, random: Math.random() });
    if (reply.type !== 'Done') return stale(key, reply, 'the offer is no longer yours');
    if (expired) options.onReturned(key);
    sendRevoke(key, 'the offer was not answered in time', 'EXPIRED');
  }

  async function disown(key: AttemptKey): Promise<void> {
    if (holds.takeOrphan(key) !== undefined) {
      return lose(key, 'INFRASTRUCTURE', 'the driver restarted and gave it up');
    }
    if (holds.find(key) !== undefined) return lose(key, 'INVALID', 'the driver disowned what is no orphan');
    sendRevoke(key, NO_ORPHAN);
  }

  async function lose(key: AttemptKey, failureClass: 'INFRASTRUCTURE' | 'INVALID', message: string): Promise<void> {
    const id = formatAttemptId(key);
    // However often the driver breaks the rules meanwhile, one Revoke answers it all.
    if (losing.has(id)) return;
    losing.add(id);
    try {
      markAsked(key);
      await logWriter.settled(key);
      const { reply } = await submit(key, { type: 'Lose', failureClass, message, random: Math.random() });
      stale(key, reply, message);
    } finally {
      losing.delete(id);
    }
  }

  async function annotate(frame: Extract<DriverFrame, { type: 'Annotation' }>): Promise<void> {
    const { key, number, annotation } = frame;
    const { reply } = await submit(key, { type: 'Annotate', number, annotation });
    if (reply.type !== 'Done') return outOfTurn(key, reply, 'it is no longer yours', BEFORE_START);
  }

  function finish(frame: Extract<DriverFrame, { type: 'Finish' }>): void {
    const hold = markAsked(frame.key);
    admitted(
      lines.askBehindWrites(
        frame,
        begun(() => finishAsked(frame, hold)),
      ),
    );
  }

  async function finishAsked(frame: Extract<DriverFrame, { type: 'Finish' }>, hold: Hold | undefined): Promise<void> {
    const { key, ...result } = frame;
    // What is beyond the largest log was dropped, whether the driver says so or not.
    const logLost = result.logLost || result.logSize > options.maxLogBytes;
    const settled = logWriter.settled(key);
    if (settled !== undefined) await settled;
    const { reply } = await submit(key, { ...result, logLost, random: Math.random() });
    if (reply.type === 'Finished') {
      link.send({ type: 'FinishAck', key, logState: reply.logState });
      acks.forget(key);
      drop(key);
    } else if (reply.type === 'LogMissing') {
      if (hold !== undefined) hold.phase = 'RUNNING';
      link.send({ type: 'LogMissing', key, offset: reply.offset });
    } else return outOfTurn(key, reply, 'it is no longer yours', BEFORE_START);
  }

  async function leave(): Promise<void> {
    const orphans = holds.takeOrphans().map(({ offer: { key } }) => ({ key, phase: 'RUNNING' as const }));
    await Promise.all(
      [...holds.all(), ...orphans].map(({ key, phase }) =>
        phase === 'OFFERED'
          ? submit(key, { type: 'Withdraw', expired: false, random: 0 })
          : submit(key, {
              type: 'Lose',
              failureClass: 'INFRASTRUCTURE',
              message: 'the driver left',
              random: Math.random(),
            }),
      ),
    );
    await options.dropLease();
    session.end(undefined);
  }

  function writeLog(frame: Extract<DriverFrame, { type: 'Log' }>): void {
    const { length } = frame.data;
    pendingLogBytes += length;
    if (pendingLogBytes > LIMITS.sessionLogWindow + LIMITS.logFrameBytes) {
      const message = `${pendingLogBytes} log bytes wait for a LogAck: send at most session_log_window of them`;
      session.end({ refused: 'PROTOCOL_VIOLATION', message });
      return;
    }
    write(frame, (result) => {
      pendingLogBytes -= length;
      written(frame, result);
    });
  }

  function written({ type, key }: LogEntry, result: LogResult): void {
    switch (result.type) {
      case 'Stored':
        // While a Finish is under way its answer says it all.
        if (type === 'Log' && holds.find(key)?.phase !== 'ASKED') acks.add(key, result.offset, false);
        return;
      case 'Gap':
        return acks.add(key, result.offset, true);
      case 'Stale':
        return work(() => outOfTurn(key, result, 'it is no longer yours', BEFORE_START));
      case 'Superseded':
        return session.end(SUPERSEDED);
      case 'Invalid':
        return work(() => lose(key, 'INVALID', result.problem));
      case 'Failed':
        return work(() => Promise.reject(result.error));
    }
  }

  async function submit(key: AttemptKey, command: Unaddressed) {
    const addressed = { ...command, job: key.job, attempt: key.attempt, instance: writer.instance, content: undefined };
    return await ledger.submit(key.runId, addressed as Command, { writer });
  }

  function markAsked(key: AttemptKey): Hold | undefined {
    const hold = holds.find(key);
    if (hold !== undefined) hold.phase = 'ASKED';
    return hold;
  }

  /** What is not in the driver's hand is revoked, whatever it asked; a session that may not write any more ends. */
  function stale(key: AttemptKey, reply: LedgerReply, reason: string): void {
    if (reply.type === 'Superseded') session.end(SUPERSEDED);
    else sendRevoke(key, reason, reply.type === 'Stale' ? reply.state : undefined);
  }

  /**
   * The ledger took no part in what the driver said of an attempt. If it is in the driver's hand all the same, the driver breaks the
   * rules, and must not be told to forget what the ledger would go on to count as its.
   */
  async function outOfTurn(
    key: AttemptKey,
    reply: LedgerReply | Extract<LogResult, { type: 'Stale' }>,
    reason: string,
    problem: string,
  ): Promise<void> {
    const state = reply.type === 'Stale' ? reply.state : undefined;
    const mayBeOurs = state === undefined ? holds.find(key) !== undefined : state === 'OFFERED';
    if (reply.type !== 'Superseded' && mayBeOurs) await lose(key, 'INVALID', problem);
    else stale(key, reply, reason);
  }

  function sendRevoke(key: AttemptKey, reason: string, state?: AttemptState): void {
    drop(key);
    link.send({
      type: 'Revoke',
      attemptId: formatAttemptId(key),
      fence: key.attempt,
      reason,
      ...(state !== undefined && { state }),
    });
  }

  function drop(key: AttemptKey): void {
    holds.drop(key);
    options.onRoom();
  }
}
