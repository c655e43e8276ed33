// Tells whoever waits what a commit changed: watchers and log readers here, sessions, the dispatcher and the timers, and by hints the
// other replicas. Called after the commit and before the answers.
import { formatJobId, type RunId } from '../core/ids.ts';
import type { Calls } from './calls.ts';
import type { NewRunNotice } from './begin-run.ts';
import type { Dispatcher } from './dispatcher.ts';
import { changesFeed, startChanges } from './flush.ts';
import type { Hints } from './hints.ts';
import { startsChanged } from './member-changes.ts';
import type { Places } from './places.ts';
import type { RunWork } from './run-work.ts';
import type { Sessions } from './sessions.ts';
import type { Timers } from './timers.ts';
import type { Topic, WakeUps } from './wake-ups.ts';

export interface Announcer {
  committed(works: readonly RunWork[]): void;
  created(runs: readonly NewRunNotice[]): void;
  deleted(runIds: readonly RunId[]): void;
  logGrown(topic: Topic): void;
}

export interface AnnouncerOptions {
  readonly wakeUps: WakeUps;
  readonly hints: Hints;
  readonly sessions: Sessions;
  readonly dispatcher: Pick<Dispatcher, 'wake'>;
  readonly timers: Pick<Timers, 'set'>;
  readonly calls: Pick<Calls, 'changed'>;
  readonly places: Pick<Places, 'changed'>;
}

export function createAnnouncer({
  wakeUps,
  hints,
  sessions,
  dispatcher,
  timers,
  calls,
  places,
}: AnnouncerOptions): Announcer {
  function ring(topic: Topic): void {
    wakeUps.ring(topic);
    hints.tell(topic);
  }

  function queued(driver: string): void {
    dispatcher.wake(driver);
    wakeUps.ring('queues');
    hints.tell(`queue:${driver}`);
  }

  function announce(work: RunWork): void {
    const { runId, plan } = work.context;
    ring(`run:${runId}`);
    for (const { event } of work.events) {
      switch (event.type) {
        case 'JobQueued': {
          const driver = plan.jobs[event.job]?.definition.driver;
          if (driver !== undefined) queued(driver);
          break;
        }
        case 'AttemptStarted':
        case 'AttemptEnded':
        case 'JobFinished':
          ring(`log:${formatJobId({ runId, job: event.job })}`);
          break;
        case 'JobWaiting':
          if (event.reason === 'CHILD_RUN') calls.changed();
          break;
        case 'RunFinished':
          if (work.context.caller !== undefined) calls.changed();
          break;
        case 'JobCancelRequested':
          if (plan.jobs[event.job]?.definition.call !== undefined) calls.changed();
          break;
        case 'RunCancelRequested':
          if (event.force) calls.changed();
          break;
        case 'JobEvaluated':
        case 'JobsAdded':
        case 'JobsAppended':
        case 'GateAnswered':
        case 'ChildRunStarted':
        case 'RunCreated':
        case 'AttemptOffered':
        case 'AttemptAdopted':
        case 'AttemptAnnotated':
        case 'AttemptArtifact':
        case 'AttemptTimedOut':
        case 'JobKillRequested':
        case 'AttemptHeard':
        case 'RunPaused':
        case 'RunResumed':
        case 'JobHeld':
        case 'JobReleased':
          break;
      }
    }
    places.changed(startsChanged(startChanges(work)));
    for (const instance of sessions.onCommitted(work)) hints.tell(`instance:${instance}`);
    if (work.dueMs !== undefined) timers.set(work.dueMs);
  }

  return {
    committed(works) {
      for (const work of works) announce(work);
      if (works.some(changesFeed)) ring('feed');
    },
    created(runs) {
      for (const { drivers, dueMs, callsChanged, starts } of runs) {
        places.changed(starts);
        if (callsChanged) calls.changed();
        for (const driver of drivers) queued(driver);
        if (dueMs !== undefined) timers.set(dueMs);
      }
      if (runs.length > 0) ring('feed');
    },
    deleted(runIds) {
      for (const runId of runIds) ring(`run:${runId}`);
      ring('feed');
    },
    logGrown: ring,
  };
}
