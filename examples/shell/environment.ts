// Owns what a shell job finds in its environment: nothing of the driver's own, so that no token of it is within reach.
import type { JobContext, JsonValue } from '@conveyor/driver';
import type { Workspace } from './workspace.ts';

/** Longer values are only in the files: a system refuses to start programs with very long ones. */
const maxValueLength = 32 * 1024;

/**
 * The environment of a job: that of the driver without its CONVEYOR_ variables; then what the job is and where its files are;
 * each param as PARAM_NAME, each output of a needed job as NEEDS_JOB_KEY, each secret as SECRET_NAME, in capitals with `_`
 * for what a variable's name cannot hold; at last what the spec sets. Values that are not text are JSON.
 */
export function jobEnvironment(
  { job, params, needs, secrets }: JobContext<unknown>,
  workspace: Workspace,
  set: Readonly<Record<string, string>>,
): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (!name.startsWith('CONVEYOR_')) env[name] = value;
  }
  Object.assign(env, {
    CI: 'true',
    CONVEYOR_PROJECT: job.project,
    CONVEYOR_PIPELINE: job.pipeline,
    CONVEYOR_RUN_ID: job.runId,
    CONVEYOR_JOB: job.name,
    CONVEYOR_ATTEMPT: String(job.attempt),
    CONVEYOR_WORKSPACE: workspace.own,
    CONVEYOR_RUN_WORKSPACE: workspace.run,
    CONVEYOR_NEEDS: workspace.needs,
    CONVEYOR_PARAMS: workspace.params,
    CONVEYOR_OUTPUT: workspace.output,
  });
  const add = (name: string, value: JsonValue): void => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    if (text.length <= maxValueLength) env[name.replace(/[^A-Za-z0-9_]/g, '_').toUpperCase()] = text;
  };
  for (const [name, value] of Object.entries(params)) add(`PARAM_${name}`, value);
  for (const [name, { outputs }] of Object.entries(needs)) {
    for (const [key, value] of Object.entries(outputs)) add(`NEEDS_${name}_${key}`, value);
  }
  for (const [name, value] of Object.entries(secrets)) add(`SECRET_${name}`, value);
  return Object.assign(env, set);
}
