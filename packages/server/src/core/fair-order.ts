// Whose turn it is: start-time fair queueing between projects, and within a project between its pipelines
// (Goyal, Vin, Cheng, "Start-time Fair Queueing", 1996; all jobs count the same). What is served is the project with the least virtual
// time; a job moves it on by 1 / weight. Whoever has nothing waiting saves nothing up: it comes back at the present virtual time.

/** One pipeline of a project; '' stands for its inline definitions. In one call each is given once. */
export interface Line {
  readonly project: string;
  readonly pipeline: string;
}

export interface FairOrder {
  /**
   * Gives out turns until `limit` jobs are taken or nobody waits. `take` says whether a job of the line was taken: a turn in which none
   * was is not counted against anybody.
   *
   * While two projects both have jobs waiting, what they got by weight differs by at most 1/weight of the one plus 1/weight of the other;
   * so it does for two pipelines of a project.
   */
  serve<L extends Line>(waiting: readonly Waiting<L>[], limit: number, take: (line: L) => boolean): void;
  /**
   * Takes back a turn that `serve` counted, for its job was not offered after all. The line catches up with it as long as it has jobs
   * waiting at every call of `serve`.
   */
  giveBack(line: Line): void;
  /** As `serve`, when every turn takes a job, but nothing is counted: how many each line would get. */
  plan<L extends Line>(waiting: readonly Waiting<L>[], limit: number): ReadonlyMap<L, number>;
}

export interface Waiting<L extends Line> {
  readonly line: L;
  readonly count: number;
}

/** The weight of a project among all, or of a pipeline among those of its project; above 0. */
export type WeightOf = (project: string, pipeline?: string) => number;

/** Virtual times beyond are forgotten once they are in the past, where nothing is lost by it. */
const MAX_REMEMBERED = 10_000;

/** A virtual clock and where each of those who share it stands. */
interface Clock {
  now: number;
  readonly times: Map<string, number>;
  /** Who was given turns back, and so may stand before `now`. */
  readonly owed: Set<string>;
}

interface Sharer<L extends Line> {
  readonly project: string;
  readonly step: number;
  time: number;
  /** The clock of its pipelines. */
  readonly clock: Clock;
  readonly lines: { readonly line: L; readonly step: number; time: number; left: number }[];
}

export function createFairOrder(weightOf: WeightOf = () => 1): FairOrder {
  const projects = newClock();
  const pipelines = new Map<string, Clock>();

  function sharersOf<L extends Line>(waiting: readonly Waiting<L>[]): Sharer<L>[] {
    const sharers = new Map<string, Sharer<L>>();
    for (const { line, count } of waiting) {
      if (count <= 0) continue;
      const { project, pipeline } = line;
      let sharer = sharers.get(project);
      if (sharer === undefined) {
        const clock = pipelines.get(project) ?? newClock();
        sharer = { project, step: 1 / weightOf(project), time: timeOf(projects, project), clock, lines: [] };
        sharers.set(project, sharer);
      }
      const step = 1 / weightOf(project, pipeline);
      sharer.lines.push({ line, step, time: timeOf(sharer.clock, pipeline), left: count });
    }
    return [...sharers.values()];
  }

  function run<L extends Line>(sharers: Sharer<L>[], limit: number, take: (line: L) => boolean, counts: boolean): void {
    for (let taken = 0; taken < limit; ) {
      const sharer = earliest(sharers, ({ project }) => project);
      if (sharer === undefined) return;
      const entry = earliest(sharer.lines, ({ line }) => line.pipeline);
      if (entry === undefined) {
        sharers.splice(sharers.indexOf(sharer), 1);
        continue;
      }
      entry.left--;
      if (take(entry.line)) {
        taken++;
        if (counts) {
          projects.now = sharer.time;
          sharer.clock.now = entry.time;
        }
        sharer.time += sharer.step;
        entry.time += entry.step;
      }
      if (entry.left === 0) sharer.lines.splice(sharer.lines.indexOf(entry), 1);
      if (counts) {
        projects.times.set(sharer.project, sharer.time);
        sharer.clock.times.set(entry.line.pipeline, entry.time);
        pipelines.set(sharer.project, sharer.clock);
      }
    }
  }

  return {
    serve(waiting, limit, take) {
      run(sharersOf(waiting), limit, take, true);
      const byProject = Map.groupBy(waiting, ({ line }) => line.project);
      settle(projects, new Set(byProject.keys()));
      for (const [project, own] of byProject) {
        const clock = pipelines.get(project);
        if (clock !== undefined) settle(clock, new Set(own.map(({ line }) => line.pipeline)));
      }
      for (const project of pipelines.keys()) if (!projects.times.has(project)) pipelines.delete(project);
    },
    giveBack({ project, pipeline }) {
      owe(projects, project, 1 / weightOf(project));
      const clock = pipelines.get(project);
      if (clock !== undefined) owe(clock, pipeline, 1 / weightOf(project, pipeline));
    },
    plan<L extends Line>(waiting: readonly Waiting<L>[], limit: number) {
      const planned = new Map<L, number>();
      const [only] = waiting;
      // The usual case, and the one with the most jobs at a time.
      if (waiting.length === 1 && only !== undefined) return planned.set(only.line, Math.min(only.count, limit));
      const take = (line: L): boolean => {
        planned.set(line, (planned.get(line) ?? 0) + 1);
        return true;
      };
      run(sharersOf(waiting), limit, take, false);
      return planned;
    },
  };
}

function newClock(): Clock {
  return { now: 0, times: new Map(), owed: new Set() };
}

function timeOf({ now, times, owed }: Clock, key: string): number {
  const time = times.get(key) ?? 0;
  return owed.has(key) ? time : Math.max(now, time);
}

function owe(clock: Clock, key: string, step: number): void {
  clock.times.set(key, (clock.times.get(key) ?? clock.now) - step);
  clock.owed.add(key);
}

/** The one with the least time; of equal ones the first by name, so that every replica decides alike. */
function earliest<T extends { readonly time: number }>(from: readonly T[], nameOf: (one: T) => string): T | undefined {
  let found: T | undefined;
  for (const one of from) {
    if (found === undefined || one.time < found.time) found = one;
    else if (one.time === found.time && nameOf(one) < nameOf(found)) found = one;
  }
  return found;
}

/** Nothing is owed to who has caught up or has nothing waiting. Whoever stands behind the clock would begin at it anyway. */
function settle({ now, times, owed }: Clock, waiting: ReadonlySet<string>): void {
  for (const key of owed) if (!waiting.has(key) || (times.get(key) ?? now) >= now) owed.delete(key);
  if (times.size <= MAX_REMEMBERED) return;
  for (const [key, time] of times) if (time <= now && !owed.has(key)) times.delete(key);
}
