// For each promise about events, leases, results and logs a decision that breaks it, and that the checkers, which a hundred thousand right
// decisions pass, catch it by that promise.
import { test } from 'vitest';
import { decide } from './decide.ts';
import type { RunSlice } from './run-state.ts';
import { isJobFinished } from './states.ts';
import {
  adding,
  answering,
  expectCaught,
  type Faults,
  leaving,
  leavingJobs,
  misled,
  recording,
  spoilt,
  telling,
} from './testing/wrong-decisions.ts';

const faults: Faults = {
  // The graphs, and states that are final.
  'lets a run go where it may not': [
    /a run does not go from RUNNING to PENDING/,
    spoilt(({ marks }) => ({
      marks: marks.map((mark, i) =>
        i < marks.length - 1 && mark.run === 'RUNNING' ? { ...mark, run: 'PENDING' } : mark,
      ),
    })),
  ],
  'lets a job run that was not offered': [
    /a job does not go from QUEUED to RUNNING/,
    telling((mark, { type }) => (type === 'AttemptOffered' ? { ...mark, job: 'RUNNING' } : mark)),
  ],
  'goes on with a job that has finished': [
    /a job that is \w+ changes no more/,
    adding(({ events }) => {
      const finished = events.find((event) => event.type === 'JobFinished');
      return finished && { type: 'JobQueued', job: finished.job };
    }),
  ],
  'lets an attempt end as it may not': [
    /RUNNING attempt became EXPIRED/,
    recording((event) =>
      event.type === 'AttemptEnded' && event.state === 'FAILED' ? { ...event, state: 'EXPIRED' } : event,
    ),
  ],
  'tells another state than it leaves': [
    /the state of the run is the one after its last event/,
    spoilt(({ after, marks }) =>
      marks.at(-1)?.run === 'RUNNING' ? { after: { ...after, run: { ...after.run, state: 'CANCELLING' } } } : {},
    ),
  ],
  'tells the states after some events only': [
    /each event tells the states after it/,
    spoilt(({ marks }) => ({ marks: marks.slice(1) })),
  ],
  'does not say what became of a job': [
    /an event about a job tells its state/,
    telling(({ run }) => ({ run, job: undefined })),
  ],

  // The numbers and times of events.
  'leaves a gap in seq': [/seq has no gap and no repeat/, leaving(({ seq }) => ({ seq: seq + 1 }))],
  'dates an event before the one before it': [
    /the time of an event is now/,
    leaving((_, { run }) => ({ lastMs: run.lastMs - 1 })),
  ],
  'does what no event says': [
    /nothing changes without an event/,
    (slice, command, nowMs) => {
      const decision = decide(slice, command, nowMs);
      if (decision.events.length > 0) return decision;
      return { ...decision, after: { ...decision.after, run: { ...decision.after.run } } };
    },
  ],
  'records another instance than it offers to': [
    /AssertionError|stale fence/,
    recording((event) => (event.type === 'AttemptOffered' ? { ...event, instanceNo: event.instanceNo + 7 } : event)),
  ],
  'makes more of an event than it says': [
    /AssertionError/,
    leavingJobs((job) => (job.startedMs === undefined ? job : { ...job, startedMs: job.startedMs + 1 })),
  ],

  // Leases and fences.
  'offers what somebody holds': [
    /a job does not go from RUNNING to OFFERED/,
    misled(
      (command) => command,
      (slice, command) => {
        const job = command.type === 'Offer' ? slice.jobs.get(command.job) : undefined;
        if (command.type !== 'Offer' || job?.state !== 'RUNNING') return slice;
        return { ...slice, jobs: new Map(slice.jobs).set(command.job, { ...job, state: 'QUEUED' }) };
      },
    ),
  ],
  'leaves two attempts in hand': [
    /a job has its newest attempt in hand, or none/,
    recording((event) =>
      event.type === 'AttemptEnded' && event.state === 'LOST'
        ? { type: 'AttemptAdopted', job: event.job, attempt: event.attempt }
        : event,
    ),
  ],
  'repeats a fence': [
    /attempts are numbered from 1 without gaps/,
    recording((event) => (event.type === 'AttemptOffered' ? { ...event, attempt: 1 } : event)),
  ],
  'leaves out a fence': [
    /attempts are numbered from 1 without gaps/,
    recording((event) => (event.type === 'AttemptOffered' ? { ...event, attempt: event.attempt + 1 } : event)),
  ],
  'lets a stale fence write': [
    /a Annotate with a stale fence changes nothing/,
    adding(({ reply }, command, { jobs }) =>
      command.type === 'Annotate' && reply.type === 'Stale' && !hasFinished(jobs, command.job)
        ? {
            type: 'AttemptAnnotated',
            job: command.job,
            attempt: command.attempt,
            number: 1,
            annotation: command.annotation,
          }
        : undefined,
    ),
  ],
  'does not tell whose fence is stale': [
    /a \w+ with a stale fence is told so/,
    answering(({ reply }) => (reply.type === 'Stale' ? { type: 'Done' } : reply)),
  ],
  'starts what was never offered': [
    /only an attempt that was offered goes on/,
    recording((event) => (event.type === 'AttemptStarted' ? { ...event, attempt: event.attempt + 1 } : event)),
  ],
  'starts an attempt a second time': [
    /only an offered attempt starts/,
    adding(({ events }, command) =>
      command.type === 'Annotate' && events.length > 0
        ? { type: 'AttemptStarted', job: command.job, attempt: command.attempt }
        : undefined,
    ),
  ],
  'adopts what has not started': [
    /AttemptAdopted of an attempt that runs/,
    recording((event) => (event.type === 'AttemptStarted' ? { ...event, type: 'AttemptAdopted' } : event)),
  ],

  // Results and logs.
  'acknowledges a second result': [
    /a Finish with a stale fence is told so/,
    answering(({ reply }, command) =>
      command.type === 'Finish' && reply.type === 'Stale' ? { type: 'Finished', logState: 'SEALED' } : reply,
    ),
  ],
  'forgets a result that it acknowledged': [
    /a Finish with a stale fence is told so|a repeated Finish has the same answer/,
    answering(({ reply, events }, command) =>
      command.type === 'Finish' && reply.type === 'Finished' && events.length === 0 ? { type: 'Stale' } : reply,
    ),
  ],
  'says by itself that an attempt succeeded': [
    /only its driver says that an attempt succeeded/,
    recording((event) =>
      event.type === 'AttemptEnded' && event.state === 'LOST' ? { ...event, state: 'SUCCEEDED' } : event,
    ),
  ],
  'counts other bytes than are stored': [
    /the log of an attempt is what is stored of it/,
    recording((event) => (event.type === 'AttemptEnded' ? { ...event, logSize: event.logSize + 1 } : event)),
  ],
  'loses outputs': [
    /outputs are those of the attempt/,
    recording((event) => {
      if (event.type !== 'AttemptEnded') return event;
      const { outputs: _lost, ...rest } = event;
      return rest;
    }),
  ],
  'does a second time what is repeated': [
    /a repeated Annotate has no second effect/,
    adding(({ reply, events }, command) =>
      command.type === 'Annotate' && reply.type === 'Done' && events.length === 0
        ? {
            type: 'AttemptAnnotated',
            job: command.job,
            attempt: command.attempt,
            number: 1,
            annotation: command.annotation,
          }
        : undefined,
    ),
  ],
  'answers a repetition otherwise': [
    /a repeated Accept has the same answer/,
    answering(({ reply, events }, command) =>
      command.type === 'Accept' && reply.type === 'Done' && events.length === 0
        ? { type: 'LogMissing', offset: 0 }
        : reply,
    ),
  ],
};

test.each(Object.entries(faults))('a ledger that %s is caught', (_, [promise, decideWrongly]) => {
  expectCaught(promise, decideWrongly);
});

function hasFinished(jobs: RunSlice['jobs'], index: number): boolean {
  const job = jobs.get(index);
  return job !== undefined && isJobFinished(job.state);
}
