// The order of turns as a promise: a bounded lag between those who wait, nobody passed over for ever, and priority among equals.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createFairOrder, type FairOrder, type Waiting } from './fair-order.ts';
import { AGEING_MS, rankOf } from './queue-rank.ts';

interface Name {
  readonly project: string;
  readonly pipeline: string;
}

const weights: Readonly<Record<string, number>> = { a: 1, b: 3, c: 10, 'a/x': 1, 'a/y': 4 };
const weightOf = (project: string, pipeline?: string): number =>
  weights[pipeline === undefined ? project : `${project}/${pipeline}`] ?? 1;

const LINES: readonly Name[] = ['a', 'b', 'c'].flatMap((project) =>
  ['', 'x', 'y'].map((pipeline) => ({ project, pipeline })),
);
const keyOf = ({ project, pipeline }: Name): string => `${project}/${pipeline}`;

function serveAll(order: FairOrder, waiting: readonly Waiting<Name>[], limit: number): Name[] {
  const turns: Name[] = [];
  order.serve(waiting, limit, (line) => turns.push(line) > 0);
  return turns;
}

/** What somebody got since both waited, by weight. */
class Lag {
  readonly #got = new Map<string, Map<string, number>>();
  worst = 0;

  /** One turn of `served`, while all of `waiting` had jobs. A pair begins anew when one of them had none. */
  turn(waiting: ReadonlyMap<string, number>, served: string): void {
    for (const [one, weight] of waiting) {
      const others = this.#got.get(one) ?? new Map<string, number>();
      for (const other of others.keys()) if (!waiting.has(other)) others.delete(other);
      for (const [other, otherWeight] of waiting) {
        if (other === one) continue;
        const step = served === one ? 1 / weight : served === other ? -1 / otherWeight : 0;
        const ahead = (others.get(other) ?? 0) + step;
        // Of any window: how far it is from where it was furthest behind.
        others.set(other, Math.max(ahead, 0));
        this.worst = Math.max(this.worst, ahead / (1 / weight + 1 / otherWeight));
      }
      this.#got.set(one, others);
    }
    for (const one of this.#got.keys()) if (!waiting.has(one)) this.#got.delete(one);
  }
}

/** Plays a random history: jobs come in bursts, turns are given out in batches of any size. Returns the worst lags and how many turns. */
function play(seed: number, steps: number, order = createFairOrder(weightOf)) {
  const random = fc.sample(fc.integer({ min: 0, max: 2 ** 30 }), { numRuns: steps * 3, seed });
  const left = new Map<string, number>(LINES.map((line) => [keyOf(line), 0]));
  const projects = new Lag();
  const pipelines = new Map(['a', 'b', 'c'].map((project) => [project, new Lag()]));
  let turns = 0;
  for (let step = 0; step < steps; step++) {
    const [which = 0, many = 0, room = 0] = random.slice(step * 3, step * 3 + 3);
    const line = LINES[which % LINES.length]!;
    left.set(keyOf(line), left.get(keyOf(line))! + (many % 12));
    const waiting = LINES.map((name) => ({ line: name, count: left.get(keyOf(name))! }));
    order.serve(waiting, room % 9, (served) => {
      const open = LINES.filter((name) => left.get(keyOf(name))! > 0);
      projects.turn(new Map(open.map(({ project }) => [project, weightOf(project)])), served.project);
      const own = open.filter(({ project }) => project === served.project);
      const ofProject = new Map(own.map((name) => [keyOf(name), weightOf(name.project, name.pipeline)]));
      pipelines.get(served.project)!.turn(ofProject, keyOf(served));
      left.set(keyOf(served), left.get(keyOf(served))! - 1);
      turns++;
      return true;
    });
  }
  return { turns, projects: projects.worst, pipelines: Math.max(...[...pipelines.values()].map(({ worst }) => worst)) };
}

describe('turns', () => {
  test('keep the lag between any two that wait within its bound, over 100,000 turns', () => {
    let turns = 0;
    for (let seed = 1; turns < 100_000; seed++) {
      const played = play(seed, 4_000);
      turns += played.turns;
      expect(played.projects).toBeLessThanOrEqual(1 + 1e-6);
      expect(played.pipelines).toBeLessThanOrEqual(1 + 1e-6);
    }
  });

  test('of an order that serves the first who waits break the bound: the check finds it', () => {
    const greedy: FairOrder = {
      plan: () => new Map(),
      giveBack: () => undefined,
      serve(waiting, limit, take) {
        for (let i = 0; i < limit; i++) {
          const next = waiting.find(({ line, count }) => count > 0 && count > taken(line));
          if (next === undefined) return;
          given.set(next.line, taken(next.line) + 1);
          take(next.line);
        }
        given.clear();
      },
    };
    const given = new Map<Name, number>();
    const taken = (line: object): number => given.get(line as Name) ?? 0;
    expect(play(1, 500, greedy).projects).toBeGreaterThan(2);
  });

  test('are the same for everybody who sees the same, and as planned', () => {
    const jobs = fc.array(fc.nat(20), { minLength: LINES.length, maxLength: LINES.length });
    fc.assert(
      fc.property(fc.array(fc.tuple(jobs, fc.nat(40)), { maxLength: 20 }), (rounds) => {
        const [one, other] = [createFairOrder(weightOf), createFairOrder(weightOf)];
        for (const [counts, limit] of rounds) {
          const waiting = LINES.map((line, i) => ({ line, count: counts[i]! }));
          const planned = one.plan(waiting, limit);
          const turns = serveAll(one, waiting, limit);
          expect(serveAll(other, waiting.toReversed(), limit)).toEqual(turns);
          const served = new Map([...Map.groupBy(turns, (line) => line)].map(([line, all]) => [line, all.length]));
          expect(served).toEqual(new Map([...planned].filter(([, count]) => count > 0)));
          expect(turns).toHaveLength(
            Math.min(
              limit,
              counts.reduce((sum, count) => sum + count, 0),
            ),
          );
        }
      }),
    );
  });

  test('that take nothing do not move on whose they are', () => {
    const order = createFairOrder();
    const [one, other] = [
      { project: 'p', pipeline: 'x' },
      { project: 'p', pipeline: 'y' },
    ];
    const both = [
      { line: one, count: 10 },
      { line: other, count: 10 },
    ];
    order.serve(both, 4, (line) => line === other);
    expect(serveAll(order, both, 4)).toEqual([one, one, other, one]);
  });

  test('that are given back are made up for at once, and only while their line waits', () => {
    const line = (project: string, count = 1_000) => ({ line: { project, pipeline: 'x' }, count });
    const [one, other] = [line('one'), line('other')];
    const givenBack = (): FairOrder => {
      const order = createFairOrder();
      const turns = serveAll(order, [one, other], 20);
      for (const turn of turns) if (turn.project === 'one') order.giveBack(turn);
      return order;
    };
    const count = (turns: readonly Name[], project: string) => turns.filter((turn) => turn.project === project).length;
    // Both got none or ten: after 30 more they are equal again, and stay so.
    const order = givenBack();
    expect(count(serveAll(order, [one, other], 4), 'one')).toBe(4);
    expect(count(serveAll(order, [one, other], 26), 'one')).toBe(16);
    expect(count(serveAll(order, [one, other], 20), 'one')).toBe(10);
    // Somebody new owes them nothing.
    expect(count(serveAll(givenBack(), [one, line('new')], 11), 'new')).toBeLessThanOrEqual(1);
    const gone = givenBack();
    serveAll(gone, [other], 1);
    expect(count(serveAll(gone, [one, other], 20), 'one')).toBeLessThanOrEqual(11);
    // Between the pipelines of a project it is the same.
    const inProject = createFairOrder();
    const [x, y] = ['x', 'y'].map((pipeline) => ({ line: { project: 'p', pipeline }, count: 1_000 }));
    for (const turn of serveAll(inProject, [x!, y!], 20)) if (turn.pipeline === 'x') inProject.giveBack(turn);
    expect(serveAll(inProject, [x!, y!], 10).every(({ pipeline }) => pipeline === 'x')).toBe(true);
  });

  test('are not saved up by who has nothing to do', () => {
    const order = createFairOrder();
    const line = (project: string) => ({ line: { project, pipeline: '' }, count: 1_000 });
    serveAll(order, [line('busy')], 1_000);
    const turns = serveAll(order, [line('busy'), line('late')], 10);
    expect(turns.filter(({ project }) => project === 'late')).toHaveLength(5);
  });
});

describe('the rank of a job', () => {
  const priority = fc.integer({ min: -100, max: 100 });

  test('puts the higher priority first among jobs queued together, and the older among equals', () => {
    fc.assert(
      fc.property(fc.nat(1e12), priority, priority, (queuedMs, one, other) => {
        expect(Math.sign(rankOf(queuedMs, one) - rankOf(queuedMs, other))).toBe(Math.sign(other - one));
        expect(rankOf(queuedMs, one)).toBeLessThan(rankOf(queuedMs + 1, one));
      }),
    );
  });

  test('lets no job wait behind others that come later than its ageing allows', () => {
    fc.assert(
      fc.property(fc.nat(1e12), fc.nat(1e9), priority, priority, (queuedMs, laterMs, own, other) => {
        fc.pre(laterMs > Math.max(0, other - own) * AGEING_MS);
        expect(rankOf(queuedMs, own)).toBeLessThan(rankOf(queuedMs + laterMs, other));
      }),
    );
  });
});
