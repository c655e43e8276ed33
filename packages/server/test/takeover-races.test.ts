// A session writes while the next one of its instance takes over at another replica, on connections of their own. What the old one wrote
// before is in the Welcome of the new one; what comes later is refused, and changes nothing.
import { crc32c } from '@node-rs/crc32';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { randomFrom } from '../src/core/testing/random-from.ts';
import type { LogResult } from '../src/engine/log-writer.ts';
import { finishWell, openLedgerFixture } from '../src/engine/testing/ledger-fixture.ts';
import { logFrame } from '../src/engine/testing/log-fixture.ts';
import { createRacedAttempts } from '../src/engine/testing/raced-attempts.ts';
import { openRaces, type Races } from './races.ts';
import { openRacingReplica, type RacingReplica } from '../src/engine/testing/racing-replica.ts';
import { connectionOptions } from '../src/store/connection-options.ts';
import { ensureLogPartitions } from '../src/store/log-partitions.ts';
import { checkLedger } from '../src/store/testing/check-ledger.ts';
import { createTestDatabase } from '../src/store/testing/database.ts';
import type { Rewrites } from '../src/store/testing/rewriting-lane.ts';

const ROUNDS = 100;

let races: Races;
beforeAll(async () => {
  races = await openRaces();
});
afterAll(() => races[Symbol.asyncDispose]());

const line = Buffer.from('a line of the old session\n');

/**
 * A session writes while the next one takes over at the other replica. Returns where the new session is told to go on, and what the
 * old one left behind once everything that it said was answered.
 */
async function takeOverWhileWriting(old: RacingReplica, next: RacingReplica, random: () => number) {
  const raced = await races.attempts.started();
  const { key, writer, instanceId } = raced;
  let over = false;
  /** Two frames at a time, until the session is told that it was superseded, or nobody takes over any more. */
  const write = async (): Promise<LogResult[]> => {
    const results: LogResult[] = [];
    for (let n = 0; results.at(-1)?.type !== 'Superseded' && (!over || n < 4); n += 2) {
      const frames = [n, n + 1].map((at) => logFrame(key, at * line.length, line));
      results.push(...(await Promise.all(frames.map((frame) => old.write(writer, frame)))));
      if (results.at(-1)?.type === 'Stale') break;
    }
    return results;
  };
  const spread = async <T>(turns: number, say: () => Promise<T>): Promise<T> => {
    for (; turns > 0; turns--) await new Promise(setImmediate);
    return await say();
  };
  const number = (n: number) => ({
    type: 'Annotate' as const,
    job: 0,
    attempt: 1,
    instance: writer.instance,
    number: n,
    annotation: { level: 'INFO' as const, text: 'noted', link: '' },
    content: undefined,
  });
  const finishes = random() < 0.2;
  const [taken, written, noted, finished] = await Promise.all([
    spread(Math.floor(random() * 8), () =>
      next.takeOver({ driver: 'shell', instance: instanceId, held: [{ key, phase: 'RUNNING', logOffset: 0 }] }),
    ).finally(() => (over = true)),
    write(),
    Promise.all([1, 2, 3].map((n) => spread(3 * n, () => old.submit(key.runId, number(n), writer)))),
    finishes
      ? spread(5, () =>
          old.submit(key.runId, { ...finishWell(0, 1), instance: writer.instance, outcome: 'FAILED' }, writer),
        )
      : undefined,
  ]);
  const { rows } = await races.sql.query<{ state: string; log_size: number; notes: number }>(
    `select state, log_size, coalesce(json_array_length(annotations), 0) as notes from attempts where run_id = $1`,
    [key.runId],
  );
  const [stored = { state: '', log_size: -1, notes: -1 }] = rows;
  return { raced, taken, written, noted, finished, stored };
}

type Overtaking = Awaited<ReturnType<typeof takeOverWhileWriting>>;

/** What the old session did behind the back of the new one; nothing, if all is well. */
function overtaken({ taken, written, noted, finished, stored }: Overtaking): string[] {
  const found: string[] = [];
  const [verdict] = taken.welcome.verdicts;
  if (verdict?.kind === 'FINISHED' || verdict?.kind === 'STOP') {
    if (finished?.type !== 'Finished') found.push(`${verdict.kind} although nothing had ended`);
  } else if (verdict?.kind !== 'KEEP') found.push(`the verdict is ${verdict?.kind}`);
  else {
    if (finished?.type === 'Finished') found.push('a result came behind the takeover');
    if (stored.log_size !== verdict.logOffset) found.push(`log bytes came behind the takeover`);
    for (const result of written) {
      if (result.type === 'Stored' && result.offset > verdict.logOffset)
        found.push('bytes were acknowledged that do not count');
    }
  }
  const answers = noted.filter(({ type }) => type === 'Done').length;
  if (stored.notes > answers) found.push('a note was stored and not acknowledged');
  return found;
}

test('what a session wrote is in the Welcome of the next one, or is refused', { timeout: 120_000 }, async () => {
  const random = randomFrom(3);
  const seen = { kept: 0, partly: 0, superseded: 0, finished: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const one = await takeOverWhileWriting(races.replicas[0], races.replicas[1], random);
    const context = { verdict: one.taken.welcome.verdicts, written: one.written, finished: one.finished };
    expect(overtaken(one), JSON.stringify(context)).toEqual([]);
    const [verdict] = one.taken.welcome.verdicts;
    if (verdict?.kind !== 'KEEP') {
      seen.finished++;
      continue;
    }
    seen.kept++;
    const refused = one.written.filter(({ type }) => type === 'Superseded').length;
    if (refused > 0) seen.superseded++;
    if (refused > 0 && refused < one.written.length) seen.partly++;
    // The new session goes on from there, and the log is whole.
    const { key } = one.raced;
    const { writer } = one.taken.facts;
    const rest = Buffer.from('and of the new one');
    expect(await races.replicas[1].write(writer, logFrame(key, verdict.logOffset, rest))).toMatchObject({
      type: 'Stored',
    });
    const kept = Buffer.concat(one.written.map(() => line)).subarray(0, verdict.logOffset);
    const whole = Buffer.concat([kept, rest]);
    const finish = { ...finishWell(0, 1), instance: writer.instance, logSize: whole.length, logCrc32c: crc32c(whole) };
    expect(await races.replicas[1].submit(key.runId, finish, writer)).toEqual({ type: 'Finished', logState: 'SEALED' });
  }
  // They did meet: some takeovers came between the writes.
  expect(seen.partly).toBeGreaterThan(10);
  expect(seen.finished).toBeGreaterThan(0);
});

describe('without the check of the epoch such a write is not refused, and noticed:', () => {
  /** The old session's replica runs other SQL. */
  const mutations: Record<string, Rewrites> = {
    'the epoch is not compared': { share_instances: (text) => text.replace('no, epoch', 'no, 1 as epoch') },
    'the epoch is read, but may change before the commit': {
      share_instances: (text) =>
        `select no, epoch from (${text.replace(' for share', '')}) read, lateral (select pg_sleep(0.01)) a_while`,
    },
  };

  test.each(Object.entries(mutations))('%s', async (_, rewrites) => {
    const random = randomFrom(4);
    await using old = await openRacingReplica(races.database, rewrites);
    const found = new Set<string>();
    for (let round = 0; round < ROUNDS && found.size === 0; round++) {
      for (const problem of overtaken(await takeOverWhileWriting(old, races.replicas[1], random))) found.add(problem);
    }
    expect([...found].join()).toMatch(/behind the takeover|do not count/);
  });
});

test('without the check of the state bytes of an attempt that is over are stored, which the ledger contradicts', async () => {
  await using own = await createTestDatabase();
  await using fixture = await openLedgerFixture(own);
  await using replica = await openRacingReplica(own, {
    lock_log_heads: (text) => text.replace('a.state,', `'RUNNING' as state,`),
    move_log_heads: (text) => text.replace(` and a.state = 'RUNNING'`, ''),
  });
  const client = new Client(connectionOptions(own.config, 'test'));
  await client.connect();
  try {
    await ensureLogPartitions(client);
    const { key, writer } = await createRacedAttempts(fixture).started();
    await replica.submit(key.runId, { ...finishWell(0, 1), instance: writer.instance }, writer);
    await checkLedger(client);
    expect(await replica.write(writer, logFrame(key, 0, line))).toMatchObject({ type: 'Stored' });
    await expect(checkLedger(client)).rejects.toThrow('log_size is 26, and should be 0');
  } finally {
    await client.end();
  }
});
