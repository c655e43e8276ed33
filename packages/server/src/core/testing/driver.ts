// Owns the commands of one driver instance that works on a simulated ledger.
import type { AttemptRef, Command, Reply } from '../commands.ts';
import { EVENT_VERSION } from '../event-versions.ts';
import { jobOf } from '../run-state.ts';
import { attemptKey, type SimulatedLedger, submit } from './simulated-ledger.ts';

type CommandOf<T extends Command['type']> = Extract<Command, { type: T }>;

export const INSTANCE = 7;

/** Creates the run. */
export function create(ledger: SimulatedLedger): void {
  submit(ledger, { type: 'Create', trigger: { kind: 'api', actor: '', reference: '' } });
}

/** The newest attempt of a job, as its holder names it. */
export function newest(ledger: SimulatedLedger, job: number): AttemptRef {
  return { job, attempt: jobOf(ledger.slice, job).attempt, instance: INSTANCE };
}

export function offer(ledger: SimulatedLedger, job: number): Reply {
  return submit(ledger, { type: 'Offer', job, instance: INSTANCE, instanceId: 'runner' }).decision.reply;
}

/** Offers and starts an attempt. */
export function start(ledger: SimulatedLedger, job: number): void {
  offer(ledger, job);
  submit(ledger, { type: 'Accept', ...newest(ledger, job) });
}

export function reject(ledger: SimulatedLedger, job: number, change: Partial<CommandOf<'Reject'>> = {}): Reply {
  const command: Command = { type: 'Reject', ...newest(ledger, job), reason: '', invalid: false, random: 0, ...change };
  return submit(ledger, command).decision.reply;
}

/** Finishes the newest attempt with the log that is stored of it. */
export function finish(ledger: SimulatedLedger, job: number, change: Partial<CommandOf<'Finish'>> = {}): Reply {
  const ref = newest(ledger, job);
  const content = ledger.attempts.get(attemptKey(job, ref.attempt));
  return submit(ledger, {
    type: 'Finish',
    ...ref,
    outcome: 'SUCCEEDED',
    failureClass: 'WORKLOAD',
    message: '',
    logSize: content?.logSize ?? 0,
    logCrc32c: content?.logCrc32c ?? 0,
    logLost: false,
    random: 0,
    content: undefined,
    ...change,
  }).decision.reply;
}

/** Starts and finishes an attempt. */
export function work(ledger: SimulatedLedger, job: number, outcome: 'SUCCEEDED' | 'FAILED'): void {
  start(ledger, job);
  finish(ledger, job, { outcome });
}

/** The timers of a job, as they fire while every replica is of this build. */
export function timerOf(job: number): CommandOf<'Timer'> {
  return { type: 'Timer', job, eventVersion: EVENT_VERSION, random: 0, content: undefined };
}

/** Lets time pass and fires the timers of a job. */
export function pass(ledger: SimulatedLedger, ms: number, job: number): void {
  ledger.nowMs += ms;
  submit(ledger, timerOf(job));
}
