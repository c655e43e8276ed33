// The driver `builder`: runs a command in the container of a run. The build belongs to its job, not to this process: the same
// instance, started again, adopts it, and any other that is offered the job's next attempt finds it and goes on.
import { defineDriver, type JobContext, JobFailure, JobStopped, runDriver } from '@conveyor/driver';
import { type Build, openBuild } from './build.ts';
import { startedContainer } from './containers.ts';

export interface BuilderSpec {
  /** What `sh` runs in the container. */
  readonly command: string;
}

export const builder = defineDriver<BuilderSpec>({
  name: 'builder',
  slots: 2,
  specSchema: {
    type: 'object',
    required: ['command'],
    properties: { command: { type: 'string', minLength: 1 } },
    additionalProperties: false,
  },
  run: (job) => runBuild(job, startedContainer(job)),
  adopt: (job, handle) => runBuild(job, handle.toString() || startedContainer(job)),
});

async function runBuild(job: JobContext<BuilderSpec>, container: string): Promise<void> {
  const build = openBuild(container, job.job.jobId, job.spec.command);
  job.checkpoint(container);
  // Adopted when it was cancelled already, it is only to be stopped.
  if (!job.signal.aborted) await build.ensureStarted();
  job.progress({ message: 'building' });
  await job.log.pipe(build.follow(job.log.offset, stopWith(job, build)));
  const exitCode = await build.exitCode();
  await build.remove();
  job.signal.throwIfAborted();
  if (exitCode === undefined) throw new JobFailure({ class: 'DRIVER', message: 'the build was killed' });
  if (exitCode !== 0) throw new JobFailure({ message: `exit code ${exitCode}`, exitCode });
}

/** A cancel ends the build; whatever else takes the job from this driver only ends its watching, which the signal does. */
function stopWith({ signal, killed }: JobContext<BuilderSpec>, build: Build): AbortSignal {
  const watching = new AbortController();
  const stopBy = (kill: NodeJS.Signals) => (): void => {
    const { reason } = signal;
    if (reason instanceof JobStopped && reason.why === 'cancelled') void build.kill(kill);
    else watching.abort(reason);
  };
  signal.addEventListener('abort', stopBy('SIGTERM'));
  killed.addEventListener('abort', stopBy('SIGKILL'));
  if (signal.aborted) stopBy('SIGTERM')();
  if (killed.aborted) stopBy('SIGKILL')();
  return watching.signal;
}

if (import.meta.main) await runDriver(builder);
