// What the driver of one session appends to its runs: checked as far as can be without a lock, then asked of the ledger, which knows
// what is there, and answered once it is committed.
import { LANGUAGE_VERSION } from '../core/event-versions.ts';
import type { DriverFrame } from '../core/frames.ts';
import type { AttemptKey } from '../core/ids.ts';
import { versionNeeded } from '../core/plan.ts';
import type { Refusal } from '../core/refusal.ts';
import type { AppendCheck } from './append-check.ts';
import type { SessionLink } from './driver-operations.ts';
import type { Ledger } from './ledger.ts';
import type { LedgerReply, Writer } from './run-work.ts';

type AppendFrame = Extract<DriverFrame, { type: 'AppendJobs' }>;

export interface SessionAppends {
  /** Answers one frame. */
  handle(frame: AppendFrame): Promise<void>;
}

export interface SessionAppendsOptions {
  readonly writer: Writer;
  readonly link: SessionLink;
  readonly ledger: Ledger;
  readonly checkAppended: AppendCheck;
  /** Why nothing of a version of events may be appended now: a replica would not understand it. */
  readonly whyTooOld: (version: number) => Refusal | undefined;
  /** The attempt is not in the driver's hand. */
  readonly stale: (key: AttemptKey, reply: Extract<LedgerReply, { type: 'Stale' }>) => Promise<void>;
  /** The session may not write any more. */
  readonly superseded: () => void;
}

export function createSessionAppends(options: SessionAppendsOptions): SessionAppends {
  const { writer, link, ledger } = options;

  async function append({ type, key, jobs: written }: AppendFrame): Promise<LedgerReply> {
    const { jobs, violations } = await options.checkAppended(key.runId, written);
    const refusal = options.whyTooOld(Math.max(LANGUAGE_VERSION, versionNeeded({ jobs, labels: {} })));
    if (refusal !== undefined) return { type: 'Refused', refusal };
    const { reply } = await ledger.submit(
      key.runId,
      {
        type,
        job: key.job,
        attempt: key.attempt,
        instance: writer.instance,
        jobs,
        violations,
        content: undefined,
      },
      { writer },
    );
    return reply;
  }

  return {
    async handle(frame) {
      const { key, number } = frame;
      const reply = await append(frame);
      switch (reply.type) {
        case 'Done':
          return link.send({ type: 'AppendAnswer', key, number });
        case 'Refused':
          // Of a run that is not there, or no longer, nobody holds an attempt.
          if (reply.refusal.refused === 'RUN_NOT_FOUND') return await options.stale(key, { type: 'Stale' });
          return link.send({ type: 'AppendAnswer', key, number, refusal: reply.refusal });
        case 'Stale':
          return await options.stale(key, reply);
        case 'Superseded':
          return options.superseded();
        case 'Finished':
        case 'LogMissing':
        case 'Unchecked':
          throw new Error(`appended jobs were answered by ${reply.type}`);
      }
    },
  };
}
