// Owns the reading of ledgers: one run's events by `seq`, a project's runs by cursor. No event is lost or repeated over
// reconnects; what would break that order is thrown, never passed on.
import type { Client as ServiceClient } from '@connectrpc/connect';
import type { Event } from '@conveyor/protocol/conveyor/v1/event_pb.js';
import type { Run } from '@conveyor/protocol/conveyor/v1/run_pb.js';
import type {
  RunChange,
  RunService,
  WatchRunResponse,
  WatchRunsResponse,
} from '@conveyor/protocol/conveyor/v1/run_service_pb.js';
import { ConveyorError } from './error.ts';
import type { ResumableSource } from './resume.ts';
import { type RunFilterInput, isFinishedRun, toRunFilter } from './run-input.ts';

/** What a project-wide watch says: first every run that matches, then each change. */
export type RunsUpdate =
  | {
      readonly kind: 'snapshot';
      /** Every run that matches now. */
      readonly runs: readonly Run[];
      /** Resumes behind this update. */
      readonly cursor: string;
    }
  | {
      readonly kind: 'changes';
      /** Runs as they are now; one with `left` set was deleted or no longer matches. */
      readonly changes: readonly RunChange[];
      /** Resumes behind this update. */
      readonly cursor: string;
    };

/** One run's events behind `afterSeq`, complete with the run's last one. */
export function runEvents(
  rpc: ServiceClient<typeof RunService>,
  runId: string,
  afterSeq: bigint,
): ResumableSource<WatchRunResponse, Event> {
  let seq = afterSeq;
  let finished = false;
  return {
    open: (signal) => rpc.watchRun({ runId, afterSeq: seq }, { signal }),
    read({ events }) {
      for (const event of events) {
        if (event.seq !== seq + 1n) {
          throw new ConveyorError('data_loss', `event ${event.seq} of run ${runId} came after event ${seq}`);
        }
        seq = event.seq;
        finished = event.kind.case === 'runFinished';
      }
      return events;
    },
    isComplete: () => finished,
    async confirmEnd(signal) {
      const { run } = await rpc.getRun({ runId }, { signal });
      return run !== undefined && isFinishedRun(run) && run.seq <= seq;
    },
  };
}

/** A project's runs from `cursor`, or from a snapshot when it is empty. Never complete. */
export function runUpdates(
  rpc: ServiceClient<typeof RunService>,
  filter: RunFilterInput,
  fromCursor: string,
): ResumableSource<WatchRunsResponse, RunsUpdate> {
  let cursor = fromCursor;
  // A snapshot has no cursor before its end: one that breaks off begins again, so its parts are kept back until then.
  let snapshot: Run[] = [];
  return {
    open(signal) {
      snapshot = [];
      return rpc.watchRuns({ filter: toRunFilter(filter), cursor }, { signal });
    },
    read(message) {
      if (cursor === '') {
        for (const { run } of message.changes) if (run !== undefined) snapshot.push(run);
        if (!message.snapshotComplete) return [];
        cursor = message.cursor;
        return [{ kind: 'snapshot', runs: snapshot.splice(0), cursor }];
      }
      if (message.cursor !== '') cursor = message.cursor;
      return message.changes.length === 0 ? [] : [{ kind: 'changes', changes: message.changes, cursor }];
    },
    isComplete: () => false,
  };
}
