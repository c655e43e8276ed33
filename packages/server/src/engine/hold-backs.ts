// Pauses and holds on their way to the ledger. They write events that older builds do not know, so as long as a replica of one serves
// they are refused.
import type { Command } from '../core/commands.ts';
import { HOLD_VERSION } from '../core/event-versions.ts';
import type { RunId } from '../core/ids.ts';
import { RefusedError } from '../core/refusal.ts';
import type { Ledger } from './ledger.ts';
import { replicaTooOld } from './refusals.ts';
import type { Replica } from './replica.ts';

export interface HoldBacks {
  /** @throws RefusedError */
  submit(project: string, runId: RunId, command: HoldBackCommand): Promise<void>;
}

type HoldBackCommand = Extract<Command, { type: 'PauseRun' | 'ResumeRun' | 'HoldJob' | 'ReleaseJob' }>;

export function createHoldBacks(ledger: Ledger, replica: Pick<Replica, 'oldest'>): HoldBacks {
  return {
    async submit(project, runId, command) {
      const oldest = replica.oldest();
      if (oldest !== undefined && oldest.eventVersion < HOLD_VERSION) throw replicaTooOld(oldest);
      const { reply } = await ledger.submit(runId, command, { project });
      if (reply.type === 'Refused') throw new RefusedError(reply.refusal);
    },
  };
}
