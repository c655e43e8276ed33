// What a driver is told of an attempt: the offer, and the start with what only a started attempt may know.
import type { Offer, Start } from '../core/frames.ts';
import type { AttemptKey } from '../core/ids.ts';
import { LIMITS } from '../core/limits.ts';
import { declaredNeeds, plannedJob } from '../core/plan.ts';
import type { JobDetails } from '../core/run-state.ts';
import type { Outputs } from '../core/views.ts';
import { jobOutcomes } from '../store/outcome-rows.ts';
import { type Pool, withConnection } from '../store/pool.ts';
import type { RunContext } from './run-context.ts';

/** Finds the values of secrets when an attempt starts. They are sent to its driver and kept nowhere. */
export type ResolveSecrets = (request: SecretRequest) => Promise<Readonly<Record<string, string>>>;

export interface SecretRequest {
  readonly project: string;
  readonly runId: string;
  readonly job: string;
  readonly driver: string;
  readonly names: readonly string[];
}

/** An attempt cannot start whatever is tried: it fails as INVALID. */
export class CannotStart extends Error {}

/** @param details What the run has worked out for the job. */
export function composeOffer(run: RunContext, key: AttemptKey, details: JobDetails | undefined): Offer {
  const { definition, name } = plannedJob(run.plan, key.job);
  const { offerMs, runMs, silenceMs, cancelGraceMs } = definition.timeouts;
  return {
    key,
    project: run.project,
    jobName: name,
    pipeline: run.pipeline ?? '',
    spec: details?.spec ?? definition.spec,
    params: run.params,
    offerTimeoutMs: offerMs,
    ...(runMs !== undefined && { runTimeoutMs: runMs }),
    ...(silenceMs !== undefined && { silenceTimeoutMs: silenceMs }),
    cancelGraceMs,
    onLeaseDoubt: definition.onLeaseDoubt,
    traceparent: run.traceparent,
    ...(definition.pool !== undefined && { pool: definition.pool }),
  };
}

export interface StartPoint {
  /** How long it has run already. */
  readonly ranMs: number;
  readonly resumed: boolean;
  readonly logOffset: number;
  readonly logCrc32c: number;
  readonly annotations: number;
  readonly valueNumber: number;
  readonly artifacts: number;
}

/** Of an attempt that has not run. */
export const BEGINNING: StartPoint = {
  ranMs: 0,
  resumed: false,
  logOffset: 0,
  logCrc32c: 0,
  annotations: 0,
  valueNumber: 0,
  artifacts: 0,
};

export type ComposeStart = (run: RunContext, key: AttemptKey, point: StartPoint) => Promise<Start>;

/** @throws CannotStart when its secrets or the outputs of its needs cannot be had. */
export function createComposeStart(pool: Pool, resolveSecrets: ResolveSecrets | undefined): ComposeStart {
  return async (run, key, { ranMs, ...before }) => {
    const { definition } = plannedJob(run.plan, key.job);
    const needs = declaredNeeds(run.plan, key.job);
    const { runMs } = definition.timeouts;
    return {
      key,
      needs: needs.length === 0 ? {} : await needsOf(pool, run, key, needs),
      secrets: definition.secrets.length === 0 ? {} : await secretsOf(run, key, resolveSecrets),
      ...(runMs !== undefined && { timeLeftMs: Math.max(0, runMs - ranMs) }),
      ...before,
    };
  };
}

async function needsOf(
  pool: Pool,
  run: RunContext,
  key: AttemptKey,
  needs: readonly number[],
): Promise<Start['needs']> {
  const outcomes = await withConnection(pool, (tx) => jobOutcomes(tx, key.runId, needs));
  const found: Record<string, { state: (typeof outcomes)[number]['state']; outputs: Outputs }> = {};
  let bytes = 0;
  for (const { job, state, outputs } of outcomes) {
    found[plannedJob(run.plan, job).name] = { state, outputs };
    bytes += JSON.stringify(outputs).length;
  }
  if (bytes <= LIMITS.needsOutputBytes) return found;
  throw new CannotStart(
    `the outputs of its needs are ${bytes} bytes, more than the ${LIMITS.needsOutputBytes} allowed`,
  );
}

async function secretsOf(
  run: RunContext,
  key: AttemptKey,
  resolveSecrets: ResolveSecrets | undefined,
): Promise<Readonly<Record<string, string>>> {
  const { name, definition } = plannedJob(run.plan, key.job);
  const { driver, secrets } = definition;
  if (resolveSecrets === undefined) {
    throw new CannotStart('it asks for secrets, and this control plane was started without resolveSecrets');
  }
  const request = { project: run.project, runId: run.runId, job: name, driver, names: secrets };
  const values = await resolveSecrets(request).catch((cause: unknown) => {
    throw new CannotStart('its secrets could not be resolved', { cause });
  });
  const missing = secrets.filter((secret) => values[secret] === undefined);
  if (missing.length === 0) return Object.fromEntries(secrets.map((secret) => [secret, values[secret] ?? '']));
  throw new CannotStart(`secrets ${missing.join(', ')} are not known`);
}
