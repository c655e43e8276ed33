// The attempts of one job as readers see them at a point of the ledger: one page of them, taken from the events one by one.
import { jsonBytes } from './check-fields.ts';
import type { RunEvent } from './events.ts';
import type { JobKey } from './ids.ts';
import { LIMITS } from './limits.ts';
import type { LedgerEntry } from './replay.ts';
import type { AttemptView, Page } from './views.ts';

type AttemptEvent = Extract<RunEvent, { attempt: number }>;

/** What an attempt takes of a page besides what is of any length. */
const ATTEMPT_BYTES = 512;

export interface AttemptPage {
  /** Takes the next event of the run. False: the page is full, and later events say nothing of it. */
  take(entry: LedgerEntry): boolean;
  page(): Page<AttemptView>;
}

/**
 * @param after Only attempts with a greater number.
 * @param maxBytes What the page may hold, roughly; but at least one attempt.
 */
export function createAttemptPage(
  project: string,
  { runId, job }: JobKey,
  { after, size, maxBytes }: { readonly after: number; readonly size: number; readonly maxBytes: number },
): AttemptPage {
  const attempts: AttemptView[] = [];
  let bytes = 0;
  let isMore = false;

  /** Attempts of a job follow each other: an event is about the newest one. */
  function change(event: AttemptEvent, change: (attempt: AttemptView) => Partial<AttemptView>): void {
    const last = attempts.at(-1);
    if (last?.attempt !== event.attempt)
      throw new Error(`${event.type} of attempt ${event.attempt} that was not offered`);
    attempts[attempts.length - 1] = { ...last, ...change(last) };
    bytes += jsonBytes(event);
  }

  function note(event: AttemptEvent, timeMs: number): void {
    switch (event.type) {
      case 'AttemptOffered': {
        const { attempt, instance } = event;
        const offered = {
          state: 'OFFERED',
          logSize: 0,
          logState: 'OPEN',
          annotations: [],
          artifacts: [],
          artifactCount: 0,
          offeredMs: timeMs,
        } as const;
        attempts.push({ project, runId, job, attempt, instance, ...offered });
        bytes += ATTEMPT_BYTES;
        return;
      }
      case 'AttemptStarted':
        change(event, () => ({ state: 'RUNNING', startedMs: timeMs }));
        return;
      case 'AttemptAnnotated':
        change(event, ({ annotations }) => ({ annotations: [...annotations, event.annotation] }));
        return;
      case 'AttemptArtifact':
        change(event, ({ artifacts, artifactCount }) => ({
          artifacts: artifactCount < LIMITS.shownArtifacts ? [...artifacts, event.artifact] : artifacts,
          artifactCount: artifactCount + 1,
        }));
        return;
      case 'AttemptEnded': {
        const { state, failure, outputs, logSize, logState } = event;
        const ended = { state, logSize, logState, finishedMs: timeMs };
        change(event, () => ({ ...ended, ...(failure && { failure }), ...(outputs && { outputs }) }));
        return;
      }
      case 'AttemptAdopted':
      case 'AttemptTimedOut':
      case 'AttemptHeard':
      case 'JobsAppended':
        return;
    }
  }

  return {
    take({ timeMs, event }) {
      if (!('attempt' in event) || event.job !== job || event.attempt <= after) return true;
      note(event, timeMs);
      isMore = attempts.length > size || (bytes > maxBytes && attempts.length > 1);
      if (isMore) attempts.pop();
      return !isMore;
    },
    page() {
      const last = attempts.at(-1);
      return { items: attempts, ...(isMore && last !== undefined && { next: String(last.attempt) }) };
    },
  };
}
