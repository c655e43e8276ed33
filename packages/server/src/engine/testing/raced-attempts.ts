// Owns attempts that a test lets many act on at once: each of a run and of a driver instance of its own.
import { definitionOf, jobNamed } from '../../core/testing/definitions.ts';
import type { AttemptKey } from '../../core/ids.ts';
import type { Writer } from '../run-work.ts';
import type { LedgerFixture } from './ledger-fixture.ts';

export interface Raced {
  readonly key: AttemptKey;
  /** The session that holds it. Its lease has run out already. */
  readonly writer: Writer;
  readonly instanceId: string;
}

export interface RacedAttempts {
  /** One that is offered. */
  offered(): Promise<Raced>;
  /** One that runs. Its time limit is over at once. */
  started(): Promise<Raced>;
}

/** A retried failure would make a second attempt, of which races want to know nothing. */
const noRetries = { WORKLOAD: 0, DRIVER: 0, INFRASTRUCTURE: 0, TIMEOUT: 0, REJECTED: 0 };
const { retry, timeouts } = jobNamed('raced');
const definition = definitionOf(
  jobNamed('raced', {
    retry: { ...retry, budgets: noRetries },
    timeouts: { ...timeouts, runMs: 1, cancelGraceMs: 60_000 },
  }),
  // So that a cancel of the job is not one of the run.
  jobNamed('other', { driver: 'nobody' }),
);

export function createRacedAttempts(ledger: LedgerFixture): RacedAttempts {
  let instances = 0;

  async function offered(): Promise<Raced> {
    const instanceId = `i-${++instances}`;
    const instance = await ledger.connect('shell', instanceId, { leaseMs: -1 });
    const runId = await ledger.create(definition);
    await ledger.submit(runId, { type: 'Offer', job: 0, instance, instanceId });
    return { key: { runId, job: 0, attempt: 1 }, writer: { instance, epoch: 1 }, instanceId };
  }

  return {
    offered,
    async started() {
      const raced = await offered();
      const { key, writer } = raced;
      await ledger.submit(key.runId, { type: 'Accept', job: 0, attempt: 1, instance: writer.instance });
      return raced;
    },
  };
}
