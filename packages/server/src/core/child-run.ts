// Decisions on calls: a job that waits for the run of another pipeline ends as that run ends. Whoever makes, watches and cancels that
// run is the engine; what it found is recorded here.
import { jsonBytes, jsonLevels } from './check-fields.ts';
import type { Command, Reply } from './commands.ts';
import type { JsonObject } from './json.ts';
import { LIMITS } from './limits.ts';
import { DONE, refuse } from './replies.ts';
import { isStopping, type JobRecord, jobOf } from './run-state.ts';
import { type Conclusion, type Draft, emit, invalid } from './draft.ts';
import { concludeJob } from './settle.ts';

type CommandOf<T extends Command['type']> = Extract<Command, { type: T }>;

/** The run that a call asked for was made. Refused when the job waits for no run, or for another one: then nobody needs that run. */
export function startChild(draft: Draft, { job: index, childRun }: CommandOf<'StartChild'>): Reply {
  const job = jobOf(draft, index);
  if (job.details?.childRun === childRun) return DONE;
  if (!isCalling(job) || job.details?.childRun !== undefined)
    return refuse('NOT_WAITING', `the job waits for no run: it is ${job.state}`);
  emit(draft, { type: 'ChildRunStarted', job: index, childRun });
  return DONE;
}

/** The run that a call asks for cannot be made. */
export function refuseChild(draft: Draft, { job: index, message }: CommandOf<'RefuseChild'>): Reply {
  const job = jobOf(draft, index);
  if (!isCalling(job) || job.details?.childRun !== undefined) return DONE;
  concludeJob(draft, index, isStopping(job) ? { state: 'CANCELLED' } : invalid(message));
  return DONE;
}

export function finishChild(draft: Draft, command: CommandOf<'FinishChild'>): Reply {
  const { job: index, childRun, state, outputs, message = `its run ${childRun} failed` } = command;
  const job = jobOf(draft, index);
  if (!isCalling(job) || job.details?.childRun !== childRun) return DONE;
  concludeJob(draft, index, state === 'SUCCEEDED' ? succeeded(outputs) : ended(state, message));
  return DONE;
}

function ended(state: 'FAILED' | 'CANCELLED', message: string): Conclusion {
  return state === 'CANCELLED' ? { state } : { state, failure: { class: 'WORKLOAD', message } };
}

function succeeded(outputs: JsonObject): Conclusion {
  if (Object.keys(outputs).length === 0) return { state: 'SUCCEEDED' };
  const bytes = jsonBytes(outputs);
  if (jsonLevels(outputs) > LIMITS.jsonLevels + 1) {
    return invalid(
      `the outputs of its run are too deep: with the names of its jobs, more than ${LIMITS.jsonLevels} lists and objects are inside of each other`,
    );
  }
  if (bytes <= LIMITS.gatheredOutputBytes) return { state: 'SUCCEEDED', outputs };
  return invalid(
    `the outputs of its run are ${bytes} bytes as JSON, at most ${LIMITS.gatheredOutputBytes} are allowed`,
  );
}

function isCalling(job: JobRecord): boolean {
  return job.state === 'WAITING' && job.wait.reason === 'CHILD_RUN';
}
