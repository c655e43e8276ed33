// Leases of the sessions of this replica: all heartbeats since the last renewal are answered by one statement. A Pulse follows a
// committed renewal only, and a replica that cannot renew for long sends its drivers elsewhere.
import type { Timing } from '../core/limits.ts';
import { renewLeases } from '../store/instance-rows.ts';
import type { Lane } from '../store/lane.ts';
import { createGroupCommit } from './group-commit.ts';
import { SUPERSEDED, type Session } from './session.ts';

const MAX_FLUSH = 5_000;

export interface Leases extends AsyncDisposable {
  renew(session: Session, seq: number): void;
}

interface Beat {
  readonly session: Session;
  /** The newest heartbeat that the renewal answers. */
  seq: number;
}

export function createLeases(lane: Lane, { leaseMs, heartbeatMs }: Timing): Leases {
  // A replica that could not renew for so long ends its sessions.
  const giveUpMs = 2 * heartbeatMs;

  const waiting = new Map<Session, Beat>();

  function giveUp({ session }: Beat): void {
    waiting.delete(session);
    const message = 'this replica cannot reach its database: connect to another one with what is held';
    session.end({ refused: 'DATABASE_UNAVAILABLE', message });
  }

  async function flush(beats: readonly Beat[], signal: AbortSignal): Promise<readonly Beat[]> {
    for (const { session } of beats) waiting.delete(session);
    const leases = beats.map(({ session }) => session.facts.writer);
    let startedMs = 0;
    const renewed = await lane.use((tx) => {
      startedMs = performance.now();
      return renewLeases(tx, leases, leaseMs);
    }, signal);
    // Told from before the statement was sent, so a driver never counts on more than it has.
    const leftMs = Math.floor(leaseMs - (performance.now() - startedMs));
    for (const { session, seq } of beats) {
      if (renewed.has(session.facts.writer.instance)) session.pulse(seq, leftMs);
      else session.end(SUPERSEDED);
    }
    return [];
  }

  const group = createGroupCommit<Beat>({ maxItems: MAX_FLUSH, flush, fail: giveUp, patienceMs: giveUpMs });
  return {
    renew(session, seq) {
      const beat = waiting.get(session);
      // One renewal answers them all, so a session has one that waits, however often it beats.
      if (beat !== undefined) beat.seq = Math.max(beat.seq, seq);
      else {
        const first = { session, seq };
        waiting.set(session, first);
        group.add(first);
      }
    },
    [Symbol.asyncDispose]: () => group[Symbol.asyncDispose](),
  };
}
