// Leases of the sessions of this replica: all heartbeats since the last renewal are answered by one statement. A Pulse follows a
// committed renewal only, and a replica that cannot renew for long sends its drivers elsewhere.
import type { Timing } from '../core/limits.ts';
import { renewLeases } from '../store/instance-rows.ts';
import type { Lane } from '../store/lane.ts';
import { isOutage } from '../store/outage.ts';
import { createGroupCommit } from './group-commit.ts';
import { SUPERSEDED, type Session } from './session.ts';

const MAX_FLUSH = 5_000;

export interface Leases extends AsyncDisposable {
  renew(session: Session, seq: number): void;
}

interface Beat {
  readonly session: Session;
  readonly seq: number;
  readonly atMs: number;
}

export function createLeases(lane: Lane, { leaseMs, heartbeatMs }: Timing): Leases {
  // A replica that could not renew for so long ends its sessions.
  const giveUpMs = 2 * heartbeatMs;

  function giveUp({ session }: Beat): void {
    const message = 'this replica cannot reach its database: connect to another one with what is held';
    session.end({ refused: 'DATABASE_UNAVAILABLE', message });
  }

  async function flush(beats: readonly Beat[]): Promise<readonly Beat[]> {
    const leases = beats.map(({ session }) => session.facts.writer);
    const startedMs = performance.now();
    try {
      const renewed = await lane.use((tx) => renewLeases(tx, leases, leaseMs), AbortSignal.timeout(giveUpMs));
      for (const { session, seq } of beats) {
        // Told from before the statement was sent, so a driver never counts on more than it has.
        const leftMs = Math.floor(leaseMs - (performance.now() - startedMs));
        if (renewed.has(session.facts.writer.instance)) session.pulse(seq, leftMs);
        else session.end(SUPERSEDED);
      }
      return [];
    } catch (error) {
      if (!isOutage(error) && !isTimeout(error)) throw error;
      const oldestMs = performance.now() - giveUpMs;
      for (const beat of beats) if (beat.atMs <= oldestMs) giveUp(beat);
      return beats.filter((beat) => beat.atMs > oldestMs);
    }
  }

  const group = createGroupCommit<Beat>({ maxItems: MAX_FLUSH, flush, fail: giveUp });
  return {
    renew: (session, seq) => group.add({ session, seq, atMs: performance.now() }),
    [Symbol.asyncDispose]: () => group[Symbol.asyncDispose](),
  };
}

function isTimeout(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'TimeoutError';
}
