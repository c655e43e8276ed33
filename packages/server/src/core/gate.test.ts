import { describe, expect, it } from 'vitest';
import type { Gate } from './definition.ts';
import { jobOf } from './run-state.ts';
import { definitionOf, jobNamed } from './testing/definitions.ts';
import { timerOf } from './testing/driver.ts';
import { openLedger, type SimulatedLedger, submit } from './testing/simulated-ledger.ts';

const trigger = { kind: 'api', actor: '', reference: '' };

function opened(gate: Partial<Gate> = {}): SimulatedLedger {
  const whole: Gate = { message: '', approvers: [], quorum: 1, onTimeout: 'FAIL', ...gate };
  const ledger = openLedger(definitionOf(jobNamed('ask', { gate: whole }), jobNamed('go', { needs: ['ask'] })));
  submit(ledger, { type: 'Create', trigger });
  return ledger;
}

interface Said {
  readonly verdict?: 'APPROVE' | 'REJECT';
  readonly groups?: readonly string[];
  readonly answers?: Record<string, string>;
  readonly comment?: string;
}

function answer(ledger: SimulatedLedger, actor: string, said: Said = {}) {
  const { verdict = 'APPROVE', groups = [], answers = {}, comment = '' } = said;
  const command = { type: 'AnswerGate', job: 0, actor, verdict, groups, answers, comment } as const;
  const { reply, events } = submit(ledger, command).decision;
  return {
    reply: reply.type === 'Refused' ? reply.refusal.refused : reply.type,
    events: events.map(({ type }) => type),
  };
}

const gateOf = (ledger: SimulatedLedger) => jobOf(ledger.slice, 0);

describe('a gate', () => {
  it('waits, and opens with the last approval of its quorum', () => {
    const ledger = opened({ quorum: 2 });
    expect(gateOf(ledger)).toMatchObject({ state: 'WAITING', wait: { reason: 'APPROVAL' } });
    expect(answer(ledger, 'ada', { answers: { a: '1', b: '1' } })).toEqual({ reply: 'Done', events: ['GateAnswered'] });
    expect(answer(ledger, 'ada', { answers: { a: '2', b: '1' } })).toEqual({ reply: 'Done', events: ['GateAnswered'] });
    expect(gateOf(ledger).state).toBe('WAITING');
    const { events } = answer(ledger, 'ben', { answers: { b: '3' } });
    expect(events).toEqual(['GateAnswered', 'JobFinished', 'JobQueued']);
    expect(gateOf(ledger)).toMatchObject({ state: 'SUCCEEDED', outputs: { a: '2', b: '3' } });
  });

  it('fails with no half of a character, however much is said', () => {
    for (const actor of ['ben', 'bena']) {
      const ledger = opened();
      answer(ledger, actor, { verdict: 'REJECT', comment: '😀'.repeat(600) });
      expect(JSON.stringify(gateOf(ledger))).not.toMatch(/\\ud83d/);
    }
  });

  it('takes the same answer again for the same, before and after its end, and no other after it', () => {
    const ledger = opened();
    expect(answer(ledger, 'ada').events).toHaveLength(3);
    expect(answer(ledger, 'ada')).toEqual({ reply: 'Done', events: [] });
    expect(answer(ledger, 'ada', { verdict: 'REJECT' })).toEqual({ reply: 'ALREADY_FINISHED', events: [] });
    expect(answer(ledger, 'ben')).toEqual({ reply: 'ALREADY_FINISHED', events: [] });
  });

  it('takes only so much of all who answer, and names of any kind', () => {
    const ledger = opened({ quorum: 4 });
    const answers = JSON.parse('{ "__proto__": "kept" }') as Record<string, string>;
    expect(answer(ledger, 'ada', { answers: { ...answers, a: 'x'.repeat(60_000) } }).reply).toBe('Done');
    expect(answer(ledger, 'ben', { answers: { b: 'x'.repeat(60_000) } }).reply).toBe('Done');
    expect(answer(ledger, 'cleo', { answers: { c: 'x'.repeat(60_000) } }).reply).toBe('LIMIT_REACHED');
    // In the place of what the same person said before there is room.
    expect(answer(ledger, 'ben', { answers: { b: 'y'.repeat(60_000) } }).reply).toBe('Done');
    for (const actor of ['cleo', 'dan']) answer(ledger, actor);
    const job = gateOf(ledger);
    const outputs = 'outputs' in job ? (job.outputs ?? {}) : {};
    expect(Object.keys(outputs)).toEqual(['__proto__', 'a', 'b']);
  });

  it('closes with the first rejection', () => {
    const ledger = opened({ quorum: 3 });
    answer(ledger, 'ada');
    answer(ledger, 'ben', { verdict: 'REJECT' });
    expect(gateOf(ledger)).toMatchObject({
      state: 'FAILED',
      failure: { class: 'WORKLOAD', message: 'ben rejected it' },
    });
    expect(jobOf(ledger.slice, 1).state).toBe('SKIPPED');
  });

  it('hears nobody but its approvers', () => {
    const ledger = opened({ approvers: ['ada', 'ops'] });
    expect(answer(ledger, 'eve', { groups: ['dev'] })).toEqual({ reply: 'NOT_AN_APPROVER', events: [] });
    expect(answer(ledger, 'eve', { groups: ['dev', 'ops'] }).reply).toBe('Done');
    expect(gateOf(ledger).state).toBe('SUCCEEDED');
  });

  it('hears nobody before its needs have finished, nor when it is none', () => {
    const gate: Gate = { message: '', approvers: [], quorum: 1, onTimeout: 'FAIL' };
    const ledger = openLedger(definitionOf(jobNamed('ask', { gate, needs: ['first'] }), jobNamed('first')));
    submit(ledger, { type: 'Create', trigger });
    expect(answer(ledger, 'ada').reply).toBe('NOT_WAITING');
    const other = {
      type: 'AnswerGate',
      job: 1,
      actor: 'a',
      verdict: 'APPROVE',
      groups: [],
      answers: {},
      comment: '',
    } as const;
    expect(submit(ledger, other).decision.reply).toMatchObject({ refusal: { refused: 'NOT_A_GATE' } });
  });

  it('that nobody answers in time opens with the defaults of its form, behind what was answered', () => {
    const formSchema = { properties: { note: { default: 'none' }, why: { default: { a: 1 } }, other: {} } };
    const ledger = opened({ quorum: 2, timeoutMs: 5_000, onTimeout: 'APPROVE', formSchema });
    answer(ledger, 'ada', { answers: { note: 'important' } });
    submit(ledger, timerOf(0), ledger.nowMs + 5_000);
    expect(gateOf(ledger)).toMatchObject({ state: 'SUCCEEDED', outputs: { note: 'important', why: { a: 1 } } });
  });

  it.each([
    ['FAIL', 'FAILED', 'SKIPPED'],
    ['APPROVE', 'SUCCEEDED', 'QUEUED'],
    ['SKIP', 'SKIPPED', 'SKIPPED'],
  ] as const)('that nobody answers in time does as it says: %s', (onTimeout, state, next) => {
    const ledger = opened({ timeoutMs: 5_000, onTimeout });
    submit(ledger, timerOf(0), ledger.nowMs + 4_999);
    expect(gateOf(ledger).state).toBe('WAITING');
    submit(ledger, timerOf(0), ledger.nowMs + 5_000);
    expect([gateOf(ledger).state, jobOf(ledger.slice, 1).state]).toEqual([state, next]);
  });
});
