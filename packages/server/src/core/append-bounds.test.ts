import { describe, expect, test } from 'vitest';
import type { Definition, JobDefinition } from './definition.ts';
import { jobOf } from './run-state.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';
import { create, finish, newest, start } from './testing/driver.ts';
import { openLedger, type SimulatedLedger, submit } from './testing/simulated-ledger.ts';

function running(definition: Definition): SimulatedLedger {
  const ledger = openLedger(definition);
  create(ledger);
  start(ledger, 0);
  return ledger;
}

/** Appends as the first job of the run. */
function append(ledger: SimulatedLedger, ...jobs: JobDefinition[]) {
  const { reply } = submit(ledger, {
    type: 'AppendJobs',
    ...newest(ledger, 0),
    jobs,
    violations: [],
    content: undefined,
  }).decision;
  return reply.type === 'Refused' ? reply.refusal : reply.type;
}

describe('a job that appends others', () => {
  test('cannot once its run has had the failure that it stops at', () => {
    const definition = definitionOf(jobNamed('on', { when: 'ALWAYS' }), jobNamed('fails'));
    const ledger = running({ ...definition, failFast: true });
    expect(append(ledger, jobNamed('before', { when: 'ALWAYS' }))).toBe('Done');
    start(ledger, 1);
    finish(ledger, 1, { outcome: 'FAILED' });
    expect(append(ledger, jobNamed('after'))).toMatchObject({ refused: 'CANCEL_REQUESTED' });
    expect(ledger.slice.plan.jobs).toHaveLength(3);
  });

  test('brings them before every last one, whatever there is of both', () => {
    const finals = Array.from({ length: 20 }, (_, n) => jobNamed(`last${n}`, { when: 'FINALLY' }));
    const ledger = running(definitionOf(jobNamed('on'), ...finals));
    const more = Array.from({ length: 100 }, (_, n) => jobNamed(`more${n}`, { needs: n === 0 ? ['on'] : ['more0'] }));
    expect(append(ledger, ...more)).toBe('Done');
    expect(jobOf(ledger.slice, 1)).toMatchObject({ state: 'BLOCKED', unmet: 101 });
    expect(ledger.slice.plan.jobs[21]?.dependants).toHaveLength(20 + 99);
    expect(ledger.slice.plan.jobs[0]?.dependants).toHaveLength(20 + 1);
  });

  test('cannot have more needs in its run than there may be', () => {
    const finals = Array.from({ length: 100 }, (_, n) => jobNamed(`last${n}`, { when: 'FINALLY' }));
    const ledger = running(definitionOf(jobNamed('on'), ...finals));
    const more = Array.from({ length: 2_600 }, (_, n) => jobNamed(`more${n}`));
    expect(append(ledger, ...more)).toMatchObject({
      refused: 'INVALID_FIELD',
      message: expect.stringMatching(/there are 260100 needs/),
    });
  });
});
