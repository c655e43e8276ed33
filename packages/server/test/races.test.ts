// Everybody who may end or move one attempt does so at the same moment, from two replicas on connections of their own. One of them wins,
// whoever does; each of the others is told that it did not.
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Command } from '../src/core/commands.ts';
import type { RunEvent } from '../src/core/events.ts';
import type { RunId } from '../src/core/ids.ts';
import { timerOf } from '../src/core/testing/driver.ts';
import { randomFrom } from '../src/core/testing/random-from.ts';
import { loseCommand } from '../src/engine/verdicts.ts';
import type { LedgerReply } from '../src/engine/run-work.ts';
import { finishWell } from '../src/engine/testing/ledger-fixture.ts';
import type { Raced } from '../src/engine/testing/raced-attempts.ts';
import { openRaces, type Races } from './races.ts';
import type { RacingReplica } from '../src/engine/testing/racing-replica.ts';
import { eventOf } from '../src/store/ledger-rows.ts';

const ROUNDS = 150;
const LEAD_MS = 8;

let races: Races;
beforeAll(async () => {
  races = await openRaces();
});
afterAll(() => races[Symbol.asyncDispose]());

async function eventsOf(runId: RunId): Promise<RunEvent[]> {
  const { rows } = await races.sql.query<{ version: number; type: string; job: number | null; data: object }>(
    'select version, type, job, data from events where run_id = $1 order by seq',
    [runId],
  );
  return rows.map(({ version, type, job, data }) => eventOf(version, type, job, data));
}

type Contestant = (raced: Raced, replica: RacingReplica) => Promise<LedgerReply>;

/** What a session says of its attempt. */
function said(command: (about: { job: number; attempt: number; instance: number }) => Command): Contestant {
  return ({ key, writer }, replica) =>
    replica.submit(key.runId, command({ job: key.job, attempt: key.attempt, instance: writer.instance }), writer);
}

const accept = said((about) => ({ type: 'Accept', ...about }));
const reject = said((about) => ({ type: 'Reject', ...about, reason: '', invalid: false, random: 0 }));
const withdraw = said((about) => ({ type: 'Withdraw', ...about, expired: true, random: 0 }));
const succeed = said((about) => ({ ...finishWell(0, 1), ...about }));
const fail = said((about) => ({ ...finishWell(0, 1), ...about, outcome: 'FAILED' }));
const lose = said((about) => ({
  type: 'Lose',
  ...about,
  failureClass: 'INVALID',
  message: 'nonsense',
  random: 0,
  content: undefined,
}));

const rescue: Contestant = async ({ key, writer }, replica) => {
  const lease = await replica.seize(writer.instance);
  // Whoever writes has the instance at this moment; a rescue comes back a second later.
  if (lease === undefined) return { type: 'Superseded' };
  return await replica.submit(key.runId, loseCommand(key, lease, 'INFRASTRUCTURE', 'silent'), lease);
};
const cancelJob: Contestant = ({ key }, replica) =>
  replica.submit(key.runId, { type: 'CancelJob', job: 0, reason: 'raced' });
const cancelRun: Contestant = ({ key }, replica) =>
  replica.submit(key.runId, { type: 'CancelRun', reason: 'raced', force: true });
const timer: Contestant = ({ key }, replica) => replica.submit(key.runId, timerOf(0));

/**
 * Lets all begin at nearly the same moment, in an order that each round draws. In some rounds one of them has a lead, so that each wins
 * now and then, however fast the machine is and however many steps it takes. Returns what each was told.
 */
async function race<Name extends string>(
  contestants: Readonly<Record<Name, Contestant>>,
  raced: Raced,
  random: () => number,
): Promise<Record<Name, LedgerReply>> {
  const drawn = (Object.entries(contestants) as [Name, Contestant][])
    .map(([name, contestant]) => ({ name, contestant, at: random(), replica: races.replicas[random() < 0.5 ? 0 : 1] }))
    .toSorted((a, b) => a.at - b.at);
  const leader = random() < 0.25 ? drawn[0] : undefined;
  const replies = await Promise.all(
    drawn.map(async (one) => {
      const { name, contestant, replica, at } = one;
      if (leader !== undefined && one !== leader) await delay(LEAD_MS);
      for (let turns = Math.floor(at * 6); turns > 0; turns--) await new Promise(setImmediate);
      return [name, await contestant(raced, replica)] as const;
    }),
  );
  return Object.fromEntries(replies) as Record<Name, LedgerReply>;
}

const LOSER = ['Stale', 'Superseded', 'Refused'];

/** Fails unless exactly the winners were told that they won, and the others that they did not. */
function expectWinners(replies: Readonly<Record<string, LedgerReply>>, winners: readonly string[]): void {
  const told = Object.entries(replies)
    .filter(([, { type }]) => !LOSER.includes(type))
    .map(([name]) => name);
  expect(told.toSorted()).toEqual(winners.toSorted());
}

test('an offer is taken, sent back, withdrawn, rescued or cancelled, and by one of them only', {
  timeout: 120_000,
}, async () => {
  const random = randomFrom(1);
  const won = new Map<string, number>();
  for (let round = 0; round < ROUNDS; round++) {
    const raced = await races.attempts.offered();
    const replies = await race({ accept, reject, withdraw, rescue, cancelJob }, raced, random);
    const events = await eventsOf(raced.key.runId);
    const wasStarted = events.some(({ type }) => type === 'AttemptStarted');
    const ends = events.filter((event) => event.type === 'AttemptEnded');
    expect(ends.length).toBe(wasStarted && replies.rescue.type !== 'Done' ? 0 : 1);
    const [end] = ends;
    // A cancel that finds the attempt ended is refused, since its job ended with it; before that it is always heeded.
    const winners = replies.cancelJob.type === 'Done' ? ['cancelJob'] : [];
    if (wasStarted) winners.push('accept');
    if (end?.state === 'REJECTED') winners.push('reject');
    if (end?.state === 'LOST') winners.push('rescue');
    if (end?.state === 'EXPIRED') winners.push(replies.rescue.type === 'Done' ? 'rescue' : 'withdraw');
    if (end?.state === 'CANCELLED') expect(replies.cancelJob.type).toBe('Done');
    expectWinners(replies, winners);
    for (const winner of winners) won.set(winner, (won.get(winner) ?? 0) + 1);
  }
  expect([...won.keys()].toSorted()).toEqual(['accept', 'cancelJob', 'reject', 'rescue', 'withdraw']);
});

test('a running attempt has one end, whoever reports, loses, rescues, cancels or times it out', {
  timeout: 120_000,
}, async () => {
  const random = randomFrom(2);
  const ended = new Map<string, number>();
  for (let round = 0; round < ROUNDS; round++) {
    const raced = await races.attempts.started();
    const contestants = { succeed, fail, lose, rescue, cancelRun, timer };
    const { cancelRun: cancelled, timer: timed, ...replies } = await race(contestants, raced, random);
    expect([cancelled.type, timed.type]).toEqual(['Done', 'Done']);
    const events = await eventsOf(raced.key.runId);
    const ends = events.filter((event) => event.type === 'AttemptEnded');
    expect(ends).toHaveLength(1);
    const { rows } = await races.sql.query<{ state: string; result: string | null }>(
      'select state, result from attempts where run_id = $1',
      [raced.key.runId],
    );
    const [{ state, result } = { state: '', result: null }] = rows;
    expect(state).toBe(ends[0]?.state);
    // What ended it: the result that is stored, or the word of whoever gave it up.
    const winner =
      result === null
        ? replies.rescue.type === 'Done'
          ? 'rescue'
          : 'lose'
        : result.includes('FAILED')
          ? 'fail'
          : 'succeed';
    expectWinners(replies, [winner]);
    ended.set(`${winner} ${state}`, (ended.get(`${winner} ${state}`) ?? 0) + 1);
    // A result that was accepted is acknowledged again, until another session has the instance.
    if (winner === 'succeed' || winner === 'fail') {
      const again = { succeed, fail }[winner];
      const reply = await again(raced, races.replicas[0]);
      expect(['Finished', 'Superseded']).toContain(reply.type);
    }
  }
  const winners = new Set([...ended.keys()].map((key) => key.split(' ')[0]));
  expect([...winners].toSorted(undefined)).toEqual(['fail', 'lose', 'rescue', 'succeed']);
  // A time limit that was committed first is the outcome, whoever reports then.
  expect([...ended.keys()].some((key) => key.endsWith('TIMED_OUT'))).toBe(true);
});
