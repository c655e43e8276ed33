// The driver `git-cloner`: clones the repository that the run's params name into its container.
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { defineDriver, type JobContext, JobFailure, runDriver } from '@conveyor/driver';
import { runProcessGroup } from '../shell/process-group.ts';
import { startedContainer } from './containers.ts';

export const gitCloner = defineDriver({
  name: 'git-cloner',
  slots: 4,
  specSchema: { type: 'object', additionalProperties: false },
  async run(job) {
    const { repository, ref = 'HEAD' } = job.params;
    if (typeof repository !== 'string' || typeof ref !== 'string') {
      throw new JobFailure({ class: 'INVALID', message: 'the run needs the param repository, and ref must be text' });
    }
    const container = startedContainer(job);
    const source = join(container, 'source');
    // Under another name until it is whole: what an earlier try left half done is never taken for a clone.
    const unfinished = `${source}.unfinished`;
    await rm(unfinished, { recursive: true, force: true });
    await git(job, container, 'clone', '--no-checkout', '--', repository, unfinished);
    await git(job, unfinished, 'checkout', '--detach', ref);
    const commit = await git(job, unfinished, 'rev-parse', 'HEAD');
    await rm(source, { recursive: true, force: true });
    await rename(unfinished, source);
    job.output('commit', commit.trim());
    job.output('directory', source);
  },
});

/** Runs git with its output in the log, and gives what it wrote on stdout. */
async function git(job: JobContext, cwd: string, ...args: string[]): Promise<string> {
  const stdout: Uint8Array[] = [];
  const end = await runProcessGroup({
    command: ['git', ...args],
    cwd,
    env: process.env,
    signal: job.signal,
    killed: job.killed,
    write: (bytes, channel) => {
      if (channel === 'stdout') stdout.push(bytes);
      return job.log(bytes, { channel });
    },
  });
  if ('signal' in end) throw new JobFailure({ message: `git ${args[0]} was ended by ${end.signal}` });
  const { exitCode } = end;
  if (exitCode !== 0) throw new JobFailure({ message: `git ${args[0]}: exit code ${exitCode}`, exitCode });
  return Buffer.concat(stdout).toString();
}

if (import.meta.main) await runDriver(gitCloner);
