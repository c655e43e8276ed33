// What one session says of its attempts, as commands to the ledger, and what the driver is told once they are committed.
import { ARTIFACTS } from '../core/capabilities.ts';
import type { CheckedOutputs, Command } from '../core/commands.ts';
import type { DriverFrame } from '../core/frames.ts';
import { type AttemptKey, formatAttemptId } from '../core/ids.ts';
import { canonicalJson, type JsonObject } from '../core/json.ts';
import type { AttemptState } from '../core/states.ts';
import type { SessionLink } from './driver-operations.ts';
import type { Hold, Holds } from './holds.ts';
import type { Ledger } from './ledger.ts';
import type { LogAcks } from './log-acks.ts';
import type { LogResult, LogWriter } from './log-writer.ts';
import type { OutputsCheck } from './outputs-check.ts';
import { BEGINNING, CannotStart, type ComposeStart, type StartPoint } from './offers.ts';
import type { RunContext } from './run-context.ts';
import type { LedgerReply, Writer } from './run-work.ts';

type FrameOf<Type extends DriverFrame['type']> = Extract<DriverFrame, { type: Type }>;

export interface SessionAttempts {
  /** Begins an attempt whose offer the driver took. */
  accept(hold: Hold): Promise<void>;
  adopt(key: AttemptKey): Promise<void>;
  reject(frame: FrameOf<'Reject'>): Promise<void>;
  withdraw(hold: Hold, expired: boolean): Promise<void>;
  disown(key: AttemptKey): Promise<void>;
  /** Ends an attempt without its driver's word. */
  lose(key: AttemptKey, failureClass: 'INFRASTRUCTURE' | 'INVALID', message: string): Promise<void>;
  annotate(frame: FrameOf<'Annotation'>): Promise<void>;
  declare(frame: FrameOf<'DeclareArtifact'>): Promise<void>;
  /** @param hold What the driver had of it before. */
  finish(frame: FrameOf<'Finish'>, hold: Hold | undefined): Promise<void>;
  /** A write that came to nothing. */
  unwritten(key: AttemptKey, result: Extract<LogResult, { type: 'Stale' }>): Promise<void>;
  /** Gives back everything, for a driver that leaves. */
  giveBack(): Promise<void>;
  /** An answer about it is under way. */
  markAsked(key: AttemptKey): Hold | undefined;
  /** Tells the driver that an attempt is not its own. */
  revoke(key: AttemptKey, reason: string, state?: AttemptState): void;
}

export interface SessionAttemptsOptions {
  readonly facts: { readonly writer: Writer };
  readonly link: SessionLink;
  readonly ledger: Ledger;
  readonly logWriter: LogWriter;
  readonly maxLogBytes: number;
  readonly composeStart: ComposeStart;
  readonly checkOutputs: OutputsCheck;
  /** What drivers may use now. */
  readonly capabilities: () => readonly string[];
  readonly holds: Holds;
  readonly acks: LogAcks;
  readonly onRoom: () => void;
  readonly onReturned: (key: AttemptKey) => void;
  /** The session may not write any more. */
  readonly superseded: () => void;
}

/** A command about an attempt without what every one of them carries. */
type Unaddressed<C extends Command = Command> = C extends { readonly attempt: number }
  ? Omit<C, 'job' | 'attempt' | 'instance' | 'content'>
  : never;

const NO_ORPHAN = 'it is not an orphan of yours, or no longer';
const BEFORE_START = 'the driver wrote to it before it was started';

export function createSessionAttempts(options: SessionAttemptsOptions): SessionAttempts {
  const { link, ledger, logWriter, holds, acks } = options;
  const { writer } = options.facts;
  const losing = new Set<string>();
  /** What was found out about outputs of attempts whose result is not decided on yet. */
  const checks = new Map<string, CheckedOutputs>();

  async function accept(hold: Hold): Promise<void> {
    const { key } = hold;
    const { reply, run } = await submit(key, { type: 'Accept' });
    if (reply.type === 'Done' && run !== undefined) await start(hold, run, BEGINNING);
    else stale(key, reply, 'the offer is no longer yours');
  }

  async function adopt(key: AttemptKey): Promise<void> {
    const orphan = holds.takeOrphan(key);
    if (orphan === undefined) {
      const hold = holds.find(key);
      if (hold?.phase === 'OFFERED') return lose(key, 'INVALID', 'the driver adopted an offer instead of accepting it');
      // Said again, it is answered already, or about to be.
      if (hold === undefined) revoke(key, NO_ORPHAN);
      return;
    }
    const hold = holds.add(key, 'ASKED', 0, orphan.offer.pool);
    const { reply, run, job } = await submit(key, { type: 'Adopt' });
    if (reply.type !== 'Done' || run === undefined) return stale(key, reply, 'it is no longer yours');
    const live = job !== undefined && 'live' in job ? job.live : undefined;
    if (live?.stop !== undefined) hold.stop = live.stop;
    const { ranMs, logOffset, logCrc32c, annotations, valueNumber, artifacts } = orphan;
    await start(hold, run, { ranMs, resumed: true, logOffset, logCrc32c, annotations, valueNumber, artifacts });
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
    revoke(key, 'the offer was not answered in time', 'EXPIRED');
  }

  async function disown(key: AttemptKey): Promise<void> {
    if (holds.takeOrphan(key) !== undefined) {
      return lose(key, 'INFRASTRUCTURE', 'the driver restarted and gave it up');
    }
    if (holds.find(key) !== undefined) return lose(key, 'INVALID', 'the driver disowned what is no orphan');
    revoke(key, NO_ORPHAN);
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

  async function declare({ key, number, artifact }: FrameOf<'DeclareArtifact'>): Promise<void> {
    if (!options.capabilities().includes(ARTIFACTS)) {
      return lose(key, 'INVALID', 'the driver declared an artifact, which Welcome did not list among its capabilities');
    }
    const { reply } = await submit(key, { type: 'Declare', number, artifact });
    if (reply.type !== 'Done') return outOfTurn(key, reply, 'it is no longer yours', BEFORE_START);
  }

  async function finish(frame: Extract<DriverFrame, { type: 'Finish' }>, hold: Hold | undefined): Promise<void> {
    const { key, ...result } = frame;
    // What is beyond the largest log was dropped, whether the driver says so or not.
    const logLost = result.logLost || result.logSize > options.maxLogBytes;
    const settled = logWriter.settled(key);
    if (settled !== undefined) await settled;
    const command = { ...result, logLost, random: Math.random() };
    let { reply } = await submit(key, command);
    if (reply.type === 'Unchecked') {
      const checked = checkOutputs(key, reply.schema, reply.outputs);
      ({ reply } = await submit(key, { ...command, checked }));
    }
    if (reply.type === 'Unchecked') return lose(key, 'INVALID', 'the driver changed its outputs after it finished');
    if (reply.type === 'Finished') {
      link.send({ type: 'FinishAck', key, logState: reply.logState });
      acks.forget(key);
      drop(key);
    } else if (reply.type === 'LogMissing') {
      if (hold !== undefined) hold.phase = 'RUNNING';
      link.send({ type: 'LogMissing', key, offset: reply.offset });
    } else return outOfTurn(key, reply, 'it is no longer yours', BEFORE_START);
  }

  /** However often a result is said before it is decided on, the same outputs are looked at once. */
  function checkOutputs(key: AttemptKey, schema: JsonObject, outputs: JsonObject): CheckedOutputs {
    const id = formatAttemptId(key);
    const before = checks.get(id);
    if (before?.text === canonicalJson(outputs)) return before;
    const checked = options.checkOutputs(schema, outputs);
    checks.set(id, checked);
    return checked;
  }

  async function giveBack(): Promise<void> {
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
    if (reply.type === 'Superseded') options.superseded();
    else revoke(key, reason, reply.type === 'Stale' ? reply.state : undefined);
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

  function revoke(key: AttemptKey, reason: string, state?: AttemptState): void {
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
    checks.delete(formatAttemptId(key));
    holds.drop(key);
    options.onRoom();
  }

  return {
    accept,
    adopt,
    reject,
    withdraw,
    disown,
    lose,
    annotate,
    declare,
    finish,
    unwritten: (key, result) => outOfTurn(key, result, 'it is no longer yours', BEFORE_START),
    giveBack,
    markAsked,
    revoke,
  };
}
